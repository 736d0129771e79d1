# The connection this shell came by: the TCP socket that the nearest of its ancestors holds.
p=$$; up=
while [ "${p:-0}" -gt 1 ]; do
 up="$up /proc/$p/fd"; n=
 while read -r k v; do case $k in PPid:) n=$v; break;; esac; done <"/proc/$p/status"
 p=$n
done
inodes=
for n in $(ls -l $up | sed -n 's/.*socket:\[\([0-9]*\)\]$/\1/p'); do inodes="$inodes|$n"; done
[ -n "$inodes" ] && grep -hE "^ *[0-9]+: [^ ]+ [^ ]+ 01 .* (${inodes#|}) " /proc/net/tcp /proc/net/tcp6
