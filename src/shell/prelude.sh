# Functions of the host's shell, sent once per connection. Plain POSIX sh: dash, bash and busybox run it.
# Every name starts with i_ so that none can meet a name of the environment.
#   i_N nonce · i_D session directory (nobody may list it, its files are 0600; removed at the end) · i_U own account · i_M missing tools
#   i_c process group that runs now · i_n counter of captured commands · i_lk the lock of this run on the host
# What is sent is limited: i_cap a stream of a command · i_sc of a question · i_tc a table · i_fr all that is large in a
# frame, of which i_room is left (src/shell/limits.rs has the numbers and their reasons).
umask 077
i_c= i_lk= i_n=0 i_in=/dev/null i_v= i_D= i_room=$i_fr

# At the end of the connection, however it comes.
i_bye() {
  trap - 0
  # bash may run this in a child that a signal hits right after the fork.
  sh -c '[ "$PPID" = "$1" ]' sh "$$" || return
  # What hangs up on us must not keep us from clearing away.
  trap '' HUP TERM PIPE
  [ -z "$i_c" ] || kill -KILL "$i_g$i_c" 2>/dev/null
  i_free
  [ -z "$i_D" ] || rm -rf -- "$i_D"
}

# Start time of the process $1 into i_q; empty when it is gone.
i_start() {
  i_q=
  if [ -d /proc/self ]; then
    { read -r i_q <"/proc/$1/stat"; } 2>/dev/null || return 0
    # The name may hold anything, blanks too. What has ended and was not waited for is gone.
    set -- ${i_q##*) }
    case $1 in [ZX]) i_q= ;; *) i_q=${20} ;; esac
  elif kill -0 "$1" 2>/dev/null; then
    i_q=-
  fi
}

# Who the host is held by, one line for each shell: run, process, its start, about the run. Sets i_own (shells of the run
# $1), i_held (a living shell of another) and i_late (shells of the run $2, whose control machine says that it is gone: they
# end by themselves, or are ended after a while).
i_holders() {
  i_own= i_held= i_late=
  while read -r i_hr i_hp i_hs i_ha; do
    i_start "$i_hp"
    [ -n "$i_q" ] && [ "$i_q" = "$i_hs" ] || continue
    case $i_hr in
    "$1") [ "$i_hp" = $$ ] || i_own=1 ;;
    "$2")
      i_late=1
      case $i_try in 50) kill -TERM "$i_hp" ;; 70) kill -KILL "$i_hp" ;; esac 2>/dev/null
      ;;
    *) i_held="$i_hr $i_hp $i_ha" ;;
    esac
  done <"$i_lk"
}

# Holds the host for the run $1: $2 is a run whose shells may be ended, $3 is told to others. What dead shells left is
# taken over. Sets i_held where somebody else is at work.
i_hold() {
  i_held= i_lk= i_try=0
  for i_q in /run /dev/shm /tmp; do
    if [ -d "$i_q" ] && [ -w "$i_q" ]; then
      i_lk=$i_q/ishprov.lock.$i_u
      break
    fi
  done
  [ -n "$i_lk" ] || return 0
  i_start $$
  i_me="$1 $$ $i_q $3"
  while [ "$i_try" -lt 80 ]; do
    i_try=$((i_try + 1))
    # Whole at once, or not at all.
    printf '%s\n' "$i_me" >"$i_D/lock"
    ln -- "$i_D/lock" "$i_lk" 2>/dev/null && return 0
    [ -f "$i_lk" ] || continue
    # Somebody else's file of that name says nothing.
    [ "$(stat -c %u -- "$i_lk" 2>/dev/null)" = "$i_u" ] || break
    i_holders "$1" "$2"
    if [ -n "$i_held" ]; then
      break
    elif [ -n "$i_own" ]; then
      printf '%s\n' "$i_me" >>"$i_lk"
      return 0
    elif [ -n "$i_late" ]; then
      sleep 0.2 2>/dev/null || sleep 1
      continue
    fi
    mv -f -- "$i_lk" "$i_D/stale" 2>/dev/null || continue
    # Meanwhile it may have become another's.
    i_k=$i_lk i_lk=$i_D/stale
    i_holders "$1" "$2"
    i_lk=$i_k
    [ -z "$i_held$i_own" ] || ln -- "$i_D/stale" "$i_lk" 2>/dev/null
    rm -f -- "$i_D/stale"
  done
  i_lk=
}

# The last shell of the run lets go of the host.
i_free() {
  [ -n "$i_lk" ] && [ -f "$i_lk" ] && i_try=0 || return 0
  i_holders "$i_run" ''
  [ -n "$i_held$i_own" ] || rm -f -- "$i_lk"
}

# Exactly $1 bytes of the stream to standard output. dd is the one tool that takes no byte too many; beyond 1 MB a
# cat behind it drains what a full disk left over, or the rest would be read as the next frame.
i_take() {
  i_left=0
  if [ "$1" -eq 0 ]; then
    return 0
  elif [ "$1" -le 1048576 ]; then
    dd bs="$1" count=1 iflag=fullblock 2>|"$i_D/dd" || { cat -- "$i_D/dd" >&2; return 1; }
  else
    {
      dd bs=65536 count=$(($1 / 65536)) iflag=fullblock
      [ $(($1 % 65536)) -eq 0 ] || dd bs=$(($1 % 65536)) count=1 iflag=fullblock
    } 2>/dev/null | { cat || { cat >/dev/null; false; }; }
  fi
}

i_skip() { i_take "$1" >/dev/null; }

# Standard input of the next command, out of the stream.
i_pay() {
  i_in=$i_D/in i_pay_bad=
  i_take "$1" 2>"$i_D/pe" >"$i_in" || i_pay_bad=1
}

# Beside a running command: tells the control machine every two seconds that it still runs, and ends its whole
# process group when that can no longer be told (the control machine is gone) or after $2 seconds.
i_watch() {
  trap '' PIPE
  i_t=0
  while :; do
    sleep 1 </dev/null >/dev/null 2>&1
    i_t=$((i_t + 1))
    kill -0 "$1" 2>/dev/null || exit 0
    if [ "$i_t" -ge "$2" ]; then
      : >"$i_D/late$i_n"
      break
    fi
    if [ $((i_t % 2)) -eq 0 ]; then
      printf '\n%s hb 0\n' "$i_N" 2>/dev/null || break
      for i_q in "$i_o" "$i_e"; do
        # Nothing may fill the host's memory: a log of this size is started over (writers append).
        [ ! -s "$i_q" ] || [ "$(i_size "$i_q")" -lt 67108864 ] || { : >"$i_D/cut$i_n"; : >"$i_q"; }
      done
      # A question that says so much is ended: its answer would not be taken.
      if [ -d "$i_v" ] && [ -n "$(find "$i_v" -type f -size +131072 2>/dev/null)" ]; then
        : >"$i_D/late$i_n"
        break
      fi
    fi
  done
  kill -TERM "$i_g$1" 2>/dev/null
  i_t=0
  while [ "$i_t" -lt 50 ] && kill -0 "$i_g$1" 2>/dev/null; do
    sleep 0.1 </dev/null >/dev/null 2>&1 || { sleep 1; i_t=$((i_t + 9)); }
    i_t=$((i_t + 1))
  done
  kill -KILL "$i_g$1" 2>/dev/null
  exit 0
}

# Beside something long that writes no record: the same sign of life. i_beat, then i_still. What else is open is not
# kept open by it.
i_beat() {
  (
    trap '' PIPE
    while sleep 2; do printf '\n%s hb 0\n' "$i_N" || exit; done
  ) </dev/null 2>/dev/null 7>&- 8>&- &
  i_hb=$!
}

i_still() {
  kill -KILL "$i_hb"
  wait "$i_hb"
  :
} 2>/dev/null

# Runs the text $i_t as account $2 (empty: our own) in a process group of its own, for $1 seconds at most; input
# $i_in, argument $i_v. The text goes by a file descriptor: on argv everyone could read it, and it may be long.
i_L='i_c=$(cat <&3); exec 3<&-; eval "$i_c"'
i_go() {
  printf '%s' "$i_t" >"$i_D/s"
  if [ -z "$2" ] || [ "$2" = "$i_U" ]; then
    $i_S sh -c "$i_L" sh "$i_v" <"$i_in" 3<"$i_D/s" >>"$i_o" 2>>"$i_e" &
  elif [ "$i_u" != 0 ]; then
    # sudo closes descriptor 3: the text goes ahead of the input.
    cat "$i_D/s" "$i_in" | $i_S sudo -n -H -u "$2" -- sh -c \
      'i_c=$(dd bs="$1" count=1 iflag=fullblock 2>/dev/null); shift; eval "$i_c"' \
      sh "${#i_t}" "$i_v" >>"$i_o" 2>>"$i_e" &
  else
    # The account must be able to open /dev/stdin and /dev/stderr again.
    if [ "$i_in" = /dev/null ]; then chown -- "$2" "$i_o" "$i_e"; else chown -- "$2" "$i_o" "$i_e" "$i_in"; fi 2>/dev/null
    case $i_as in
    runuser) $i_S runuser -u "$2" -- sh -c "$i_L" sh "$i_v" <"$i_in" 3<"$i_D/s" >>"$i_o" 2>>"$i_e" & ;;
    setpriv)
      i_q=$(id -g -- "$2" 2>>"$i_e")
      $i_S setpriv --reuid="$2" --regid="$i_q" --init-groups -- sh -c "$i_L" sh "$i_v" \
        <"$i_in" 3<"$i_D/s" >>"$i_o" 2>>"$i_e" &
      ;;
    *) $i_S su -s /bin/sh -c "$i_L" "$2" sh "$i_v" <"$i_in" 3<"$i_D/s" >>"$i_o" 2>>"$i_e" & ;;
    esac
  fi
  i_c=$! i_pg=$!
  i_watch "$i_c" "$1" & i_w=$!
  # Not a word of ours about a command that a signal ended.
  wait "$i_c" 2>/dev/null
  i_r=$?
  i_to=0
  if [ -e "$i_D/late$i_n" ]; then
    wait "$i_w"
    rm -f -- "$i_D/late$i_n"
    i_to=1
  else
    # Not TERM: right after the fork a shell loses it, or takes it for its own.
    kill -KILL "$i_w"
    wait "$i_w"
  fi 2>/dev/null
  i_c=
}

i_open() {
  i_n=$((i_n + 1)) i_o=$i_D/o$i_n i_e=$i_D/e$i_n i_r=0 i_to=0
  : >"$i_o"
  : >"$i_e"
}

# A line for every file system of which less than 1% is left, of space or inodes, when a command failed for that: what
# it says names at best the file that it could not write.
i_full() {
  grep -q 'No space left on device\|have enough free space' "$i_e" 2>/dev/null || return 0
  ! grep -q '^no [a-z]* left on /' "$i_e" || return 0
  [ -z "$(tail -c 1 "$i_e")" ] || echo >>"$i_e"
  for i_q in '-P|no space left on' '-Pi|no inodes left on'; do
    df "${i_q%%|*}" 2>/dev/null | while read -r i_k i_z i_f i_left i_p i_x; do
      # Not images, which are always full, and not what has no numbers.
      case $i_k in /dev/loop*) continue ;; esac
      case $i_z:$i_left in
      0:*|*[!0-9:]*) ;;
      *) [ $((i_left * 100)) -gt "$i_z" ] || printf '%s %s\n' "${i_q#*|}" "$i_x" ;;
      esac
    done
  done >>"$i_e"
}

# The record of a captured command: status, timed out, lengths of both streams, and whether they were cut.
i_reply() {
  i_lo=0 i_le=0 i_co=0 i_ce=0
  [ "$i_r" = 0 ] || i_full
  [ ! -s "$i_o" ] || i_lo=$(i_size "$i_o")
  [ ! -s "$i_e" ] || i_le=$(i_size "$i_e")
  [ ! -e "$i_D/cut$i_n" ] || i_co=1
  [ "$i_room" -ge "$2" ] || set -- "$1" "$i_room"
  [ "$i_lo" -le "$2" ] || i_co=1 i_lo=$2
  i_room=$((i_room - i_lo))
  [ "$i_room" -ge "$2" ] || set -- "$1" "$i_room"
  [ "$i_le" -le "$2" ] || i_ce=1 i_le=$2
  i_room=$((i_room - i_le))
  printf '\n%s %s %d %d %d %d %d %d %d\n' "$i_N" "$1" "$i_r" "$i_to" "$i_lo" "$i_le" "$i_co" "$i_ce" $((i_lo + i_le))
  [ "$i_lo" = 0 ] || head -c "$i_lo" "$i_o"
  [ "$i_le" = 0 ] || head -c "$i_le" "$i_e"
}

# One action: i_run "act ITEM ACTION" SECONDS ACCOUNT
i_run() {
  i_open
  if [ "$i_in" != /dev/null ] && [ -n "$i_pay_bad" ]; then
    cat -- "$i_D/pe" >"$i_e" 2>/dev/null
    i_r=1
  else
    i_t="export LC_ALL=$i_lc
$i_t"
    i_go "$2" "$3"
  fi
  [ "$i_in" = /dev/null ] || rm -f -- "$i_in"
  i_in=/dev/null
  i_reply "$1" "$i_cap"
}

# One file: i_put "act ITEM ACTION" BYTES SECONDS ACCOUNT, with the variables of i_stage set by the text $i_a.
i_put() {
  i_open
  i_x= i_lock=
  if [ -z "$4" ] || [ "$4" = "$i_U" ]; then
    i_left=$2
    eval "$i_a"
    # A file to lock that no other account can open, that is always there and that nothing is left of.
    if [ "$i_u" = 0 ] && [ -n "$i_ex" ] && [ -f /etc/shadow ]; then
      i_lock=1
      { i_stage "$2" "$3"; } 2>>"$i_e" 8</etc/shadow || { i_full; i_undo; }
    else
      { i_stage "$2" "$3"; } 2>>"$i_e" || { i_full; i_undo; }
    fi
    cd /
    [ "$i_left" = 0 ] || i_skip "$i_left"
  else
    i_pay "$2"
    if [ -n "$i_pay_bad" ]; then
      cat -- "$i_D/pe" >"$i_e" 2>/dev/null
      i_r=1
    else
      i_t="$i_lib
umask 077
$i_a
i_r=0 i_x=
i_take() { cat; }
i_go() { sh -c \"\$i_t\" sh \"\$i_v\" </dev/null; i_r=\$?; }
i_stage $2 $3 || { i_undo; exit \"\$i_r\"; }"
      i_go "$3" "$4"
    fi
    rm -f -- "$i_in"
    i_in=/dev/null
  fi
  i_reply "$1" "$i_cap"
}

i_table() {
  i_b=$(i_size "$3")
  if [ "${i_b:-0}" -gt "$i_tc" ]; then
    i_b="\`$3\` is $i_b bytes long; at most $i_tc bytes are read"
    i_say lack "$2" "$1"
    return
  fi
  i_b=$(cat "$3" 2>/dev/null && echo x)
  i_b=${i_b%x}
  i_say "$1" "$2"
}

# States of packages: i_pkgs ITEM NAMES...
i_pkgs() {
  i_k=$1
  shift
  case $i_M in
  *" dpkg-query "*)
    i_b='`dpkg-query` is missing on the host'
    i_say lack "$i_k" pkg
    ;;
  *)
    i_b=$(dpkg-query -W -f '${Package} ${Architecture} ${db:Status-Abbrev} ${Version}\n' -- "$@" 2>/dev/null)
    i_say pkg "$i_k"
    ;;
  esac
}

# States of units: i_units ITEM NAMES...; a block per name, in their order.
i_units() {
  i_k=$1
  shift
  case $i_M in
  *" systemctl "*)
    i_b='`systemctl` is missing on the host'
    i_say lack "$i_k" unit
    return
    ;;
  esac
  i_f='LoadState,ActiveState,SubState,UnitFileState'
  i_q=$#
  i_b=$(systemctl show -p "$i_f" -- "$@" 2>/dev/null)
  set -f
  i_E=0
  for i_p in $i_b; do case $i_p in LoadState=*) i_E=$((i_E + 1)) ;; esac; done
  if [ "$i_E" -ne "$i_q" ]; then
    i_b=
    i_beat
    for i_p; do
      i_b="$i_b
LoadState?
$(systemctl show -p "$i_f" -- "$i_p" 2>&1)"
    done
    i_still
  fi
  set +f
  i_say unit "$i_k"
}

# Read-only scripts of one account in one process group: i_asks "asks ITEM BATCH" SECONDS ACCOUNT NUMBERS, text in
# $i_t. Each has files of its own, so that whoever opens /dev/stderr again cuts nobody else's. The record names number,
# status (- when it did not end) and both lengths for every script that began.
i_asks() {
  i_open
  i_v=$i_D/b$i_n
  mkdir -m 700 -- "$i_v"
  [ -z "$3" ] || chown -- "$3" "$i_v" 2>/dev/null
  i_go "$2" "$3"
  # A question must leave nothing running behind.
  kill -KILL "$i_g$i_pg" 2>/dev/null
  for i_q in $4; do eval "i_s$i_q=-"; done
  if [ -f "$i_v/st" ]; then
    while read -r i_q i_k; do
      case $i_q$i_k in *[!0-9]*) ;; *) eval "i_s$i_q=\$i_k" ;; esac
    done <"$i_v/st"
  fi
  i_E=$1
  set -- $4
  i_b=
  i_k=$#
  while [ "$i_k" -gt 0 ]; do
    # Not through a link that the account put there.
    if [ -f "$i_v/o$1" ] && [ -f "$i_v/e$1" ] && [ ! -L "$i_v/o$1" ] && [ ! -L "$i_v/e$1" ]; then
      i_b="$i_b $1"
      set -- "$@" "$i_v/o$1" "$i_v/e$1"
    fi
    shift
    i_k=$((i_k - 1))
  done
  i_lo=0
  if [ $# -gt 0 ]; then
    i_z=$(stat -L -c %s -- "$@" 2>/dev/null || for i_q; do wc -c <"$i_q"; done)
    i_h=
    for i_q in $i_b; do
      i_le=${i_z%%[!0-9]*} i_z=${i_z#*[!0-9]}
      i_left=${i_z%%[!0-9]*} i_z=${i_z#*[!0-9]}
      # What is too long is not sent by halves.
      if [ "$i_le" -gt "$i_sc" ] || [ "$i_left" -gt "$i_sc" ]; then
        i_h="$i_h $i_q long:$((i_le + i_left)) 0 0"
        shift 2
        continue
      elif [ $((i_le + i_left)) -gt "$i_room" ]; then
        i_h="$i_h $i_q full 0 0"
        shift 2
        continue
      fi
      set -- "$@" "$1" "$2"
      shift 2
      i_room=$((i_room - i_le - i_left))
      eval "i_h=\"\$i_h $i_q \$i_s$i_q $i_le $i_left\""
      i_lo=$((i_lo + i_le + i_left))
    done
  else
    i_h=
  fi
  [ ! -s "$i_e" ] || i_b=$(head -c 2000 "$i_e")
  [ -s "$i_e" ] || i_b=
  i_le=${#i_b}
  printf '\n%s %s %d %d %d%s %d\n%s' "$i_N" "$i_E" "$i_r" "$i_to" "$i_le" "$i_h" $((i_lo + i_le)) "$i_b"
  [ "$i_lo" = 0 ] || cat -- "$@"
  rm -rf -- "$i_v"
  i_v=
}

# The proxies of /etc/environment, as a login by PAM would bring them: `export` and quotes around a value are dropped,
# a `#` begins a comment. A task's own environment comes later and wins.
i_proxies() {
  [ -r /etc/environment ] || return 0
  while IFS= read -r i_q || [ -n "$i_q" ]; do
    i_q=${i_q%%#*}
    i_q=${i_q#"${i_q%%[! 	]*}"}
    i_q=${i_q%"${i_q##*[! 	]}"}
    i_q=${i_q#export }
    i_k=${i_q%%=*} i_q=${i_q#*=}
    case $i_k in
    http_proxy|https_proxy|ftp_proxy|all_proxy|no_proxy|HTTP_PROXY|HTTPS_PROXY|FTP_PROXY|ALL_PROXY|NO_PROXY) ;;
    *) continue ;;
    esac
    case $i_q in
    [\"\']*)
      i_q=${i_q#?}
      case $i_q in *[\"\']) i_q=${i_q%?} ;; esac
      ;;
    esac
    export "$i_k=$i_q"
  done </etc/environment
}

# Who and where we are; once per connection.
i_hello() {
  cd /
  i_proxies
  i_M=
  for i_q in stat sha256sum openssl dpkg-query systemctl setsid runuser setpriv su sudo readlink head dd mv cp ln sync \
    chown chmod mkdir rm cat sleep id uname; do
    command -v "$i_q" >/dev/null 2>&1 || i_M="$i_M $i_q"
  done
  i_M="$i_M "
  i_id=$(id)
  i_u=${i_id#uid=} i_u=${i_u%%[!0-9]*}
  i_U=${i_id#*\(} i_U=${i_U%%\)*}
  i_as=su
  case $i_M in *" setpriv "*) ;; *) i_as=setpriv ;; esac
  case $i_M in *" runuser "*) ;; *) i_as=runuser ;; esac
  # Without setsid the command itself is ended at least.
  i_S=setsid i_g=-
  case $i_M in *" setsid "*) i_S= i_g= ;; esac
  i_lc=C
  for i_q in /usr/lib/locale/C.utf8 /usr/lib/locale/C.UTF-8; do [ ! -d "$i_q" ] || i_lc=C.UTF-8; done
  [ -n "$HOME" ] || eval "HOME=~$i_U"
  USER=$i_U LOGNAME=$i_U SHELL=/bin/sh
  export HOME USER LOGNAME SHELL
  for i_q in /run /dev/shm /tmp; do
    if [ -d "$i_q" ] && [ -w "$i_q" ] && mkdir -m 711 -- "$i_q/.ishprov.$i_N" 2>/dev/null; then
      i_D=$i_q/.ishprov.$i_N
      break
    fi
  done
  trap i_bye 0
  trap 'exit 1' HUP TERM PIPE
  if [ -z "$i_D" ]; then
    i_b='no directory for temporary files: /run, /dev/shm and /tmp are missing, full or not writable'
    i_say refuse
    exit 1
  fi
  echo $$ >"$i_D/pid"
  # Directories of shells that were killed.
  for i_q in /run/.ishprov.*; do
    if [ "$i_u" = 0 ] && [ -f "$i_q/pid" ] && read -r i_k <"$i_q/pid"; then
      kill -0 "$i_k" 2>/dev/null || rm -rf -- "$i_q"
    fi
  done
  i_node=$(uname -n)
  case $i_node in '' | *[!A-Za-z0-9.-]*) i_node=host ;; esac
  i_T=${i_N#????????????????} i_T=$i_node.${i_N%"$i_T"}
  i_lib="i_M='$i_M' i_node=$i_node i_T=$i_T i_N=- i_u=\$(id -u)
$i_lib"
  i_held= i_lk=
  [ -z "$i_run" ] || i_hold "$i_run" "$i_gone" "$i_who"
  i_b="$(uname -s -r -m)
$i_id
$i_M
$i_login
$i_held"
  unset i_login
  i_say hello
}
