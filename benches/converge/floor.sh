# The floor: one hand-written read of what site.yaml wants, and its two commands. Run as: ssh HOST sh -s < floor.sh
dpkg-query -W -f '${Package} ${Status}\n' postgresql ufw jq htop
getent group dba
for u in ops1 ops2 ops3; do getent passwd $u; id -Gn $u; done
cd /etc/bench
stat -c '%n %F %a %U %G' 1 2 3 4 5 ?.conf one two three four link cond
[ -e gone ] || echo absent
sha256sum ?.conf one two three four cond
cat lines /etc/hosts /proc/meminfo
systemctl show -p ActiveState,UnitFileState postgresql ufw
ufw status
pg_lsclusters -h
uptime | wc -l
