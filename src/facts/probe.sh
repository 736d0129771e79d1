exec 2>/dev/null
s() { printf '@@%s\n' "$1"; }
s uname; uname -n -r -v -m -s
s id
while read -r k v _; do case $k in Uid:) break;; esac; done </proc/$$/status
if [ "$v" = 0 ]; then printf 'uid=0(root) gid=0(root)\n'; else id; fi
s date; date '+%s|%Y-%m-%d|%H:%M:%S|%Z|%z|%A|%w|%W'
s pagesize; while read -r k v _; do case $k in KernelPageSize:) printf '%s\n' "$((v * 1024))"; break;; esac; done </proc/self/smaps
s cpu; grep -E '^(processor|vendor_id|model name|Processor|physical id|siblings|core id|cpu cores|cpu MHz)[[:space:]]*:' /proc/cpuinfo
s init; while read -r k v; do case $k in Cpus_allowed_list:) printf '%s %s\n' "$k" "$v"; break;; esac; done </proc/1/status
read -r comm </proc/1/comm && printf 'comm %s\n' "$comm"
s have
for f in /run/systemd/system /.dockerenv /run/.containerenv /usr/bin/apt-get /usr/bin/dnf /usr/bin/yum /usr/bin/zypper \
 /usr/bin/pacman /sbin/apk /sys/fs/selinux/enforce /sys/firmware/efi /run/reboot-required; do
 [ -e "$f" ] && printf '%s\n' "$f"; done
s virt
# A slow program: only where no file tells.
[ -e /run/systemd/container ] || [ -e /.dockerenv ] || [ -r /sys/class/dmi/id/sys_vendor ] || systemd-detect-virt --vm
s ip; ip -o -force -batch - <<X
addr
route get 8.8.8.8
route get 2404:6800:400a:800::1012
X
s pg
dirs=
for c in /etc/postgresql/*/*/postgresql.conf; do
 [ -f "$c" ] || continue
 d=${c%/postgresql.conf}; n=${d##*/}; v=${d%/*}; v=${v##*/}
 data=$(sed -n "s/^[[:space:]]*data_directory[[:space:]]*=\{0,1\}[[:space:]]*'\([^']*\)'.*/\1/p" "$c" | tail -n 1)
 [ -n "$data" ] || data=/var/lib/postgresql/$v/$n
 real=$(cd -P "$data" && pwd -P) || real=$data
 run=down; pid=
 read -r pid <"/run/postgresql/$v-$n.pid" || read -r pid <"$data/postmaster.pid"
 [ -n "$pid" ] && [ -d "/proc/$pid" ] && run=online
 role=primary
 { [ -e "$data/standby.signal" ] || [ -e "$data/recovery.signal" ]; } && role=standby
 [ -e "$data/PG_VERSION" ] || role=none
 start=; while read -r w _; do case $w in auto|manual|disabled) start=$w;; esac; done <"$d/start.conf"
 printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$v" "$n" "$run" "$role" "${start:-auto}" "$data" "$real"
 grep -sHE '^[[:space:]]*port[[:space:]]*=?[[:space:]]*' "$c" "$d"/conf.d/*.conf "$data/postgresql.auto.conf"
 dirs="$dirs
$real"
done
for b in /usr/lib/postgresql/*/bin/postgres; do [ -x "$b" ] && printf 'bin\t%s\n' "$b"; done
d=/var/lib/postgresql; real=$(cd -P "$d" && pwd -P) || { real=$d; while [ ! -d "$real" ]; do real=${real%/*}; real=${real:-/}; done; }
printf 'home\t%s\n' "$real"
dirs="$dirs
$real"
s mount
set --
while read -r id parent dev root at options rest; do
 rest=${rest#*- }; fs=${rest%% *}; src=${rest#* }; src=${src%% *}
 case "$fs $src" in
 *" "*:/*|"fuse."*" /"*|cifs*|ceph*|9p*) sized=0;;
 fuse.*|*" lxcfs") continue;;
 *" "/*|overlay*|zfs*|btrfs*|bcachefs*|virtiofs*) sized=1;;
 *) [ "$at" = / ] || continue; sized=1;;
 esac
 [ -d "$at" ] || continue
 printf '%s\t%s\t%s\t%s\t%s\n' "$dev" "$at" "$fs" "$src" "$options"
 case $sized$at in 1*\\*) ;; 1*) set -- "$@" "$at";; esac
done </proc/self/mountinfo
IFS='
'
s statfs; stat -f -c '%S %b %f %a %c %d %n' "$@" $dirs
unset IFS
s slaves; for f in /sys/block/*/slaves/*; do [ -e "$f" ] && printf '%s\n' "$f"; done
set -- /sys/fs/cgroup
for q in 1 self; do
 while IFS=: read -r _ ctl path; do
  case $q$path in self/user.slice*) continue;; esac
  case ,$ctl, in ,,) base=/sys/fs/cgroup;; *,memory,*) base=/sys/fs/cgroup/memory;; *,cpu,*) base=/sys/fs/cgroup/cpu;; *) continue;; esac
  path=${path%/init.scope}
  set -- "$@" "$base"
  while [ -n "$path" ] && [ "$path" != / ]; do set -- "$@" "$base$path"; path=${path%/*}; done
  for u in /system.slice /system.slice/system-postgresql.slice /system.slice/system-postgresql.slice/postgresql@*.service; do
   for d in "$base"$u; do [ -d "$d" ] && set -- "$@" "$d"; done
  done
 done <"/proc/$q/cgroup"
done
s files
n=$#
while [ "$n" -gt 0 ]; do
 d=$1; n=$((n - 1)); shift
 set -- "$@" "$d/memory.max" "$d/memory.limit_in_bytes" "$d/cpu.max" "$d/cpu.cfs_quota_us" "$d/cpu.cfs_period_us"
done
grep -sH '' "$@" /etc/os-release /etc/debian_version /etc/hosts /etc/resolv.conf /proc/meminfo /proc/uptime /proc/loadavg \
 /proc/cmdline /proc/sys/kernel/hostname /proc/sys/kernel/random/boot_id /sys/devices/system/cpu/online \
 /run/systemd/container /sys/class/dmi/id/product_name /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_version \
 /sys/fs/selinux/enforce /sys/module/apparmor/parameters/enabled /sys/kernel/mm/transparent_hugepage/enabled \
 /sys/class/net/*/address /sys/class/net/*/mtu /sys/class/net/*/operstate /sys/class/net/*/type \
 /sys/block/*/dev /sys/block/*/*/dev /sys/block/*/size /sys/block/*/*/size /sys/block/*/ro /sys/block/*/removable \
 /sys/block/*/queue/rotational /sys/block/*/queue/logical_block_size /sys/block/*/device/model \
 /sys/block/*/device/vendor /sys/block/*/dm/name
