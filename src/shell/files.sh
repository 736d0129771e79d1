# Functions that look at files and act on them. The host's shell has them, and so has every process that works for an
# account: what an account may not see or do, the kernel refuses. The variables that they read:
#   i_u number of the account · i_M missing tools · i_N mark of the records · i_D folder to write to
#   i_node name of the host · i_T ending of temporary names, of this session alone
# Paths are absolute. Nobody else's symbolic link leads anywhere (see i_trust), and nothing is done by a path that
# could be another's by now: the folder is entered, and what is in it is changed by an open file or without following.

# A record: fields, then the length of the body, then the body ($i_b).
i_say() { printf '\n%s %s %d\n%s' "$i_N" "$*" "${#i_b}" "$i_b"; }

# As a text, for the shells below `find` (see i_modes).
i_some='
i_no() {
  printf "%s\n" "$*" >&2
  return 1
}

# Whether nobody but root can change what names in this folder mean.
i_calm() {
  i_q=$(stat -c "%u %a" .) || return 1
  case $i_q in
  "0 "*[2367][0-7] | "0 "*[2367]) return 1 ;;
  "0 "*) ;;
  *) return 1 ;;
  esac
}

# Mode $1 of $i_h in this folder.
i_mode() {
  [ ! -L "./$i_h" ] || { i_no "\`${PWD%/}/$i_h\` is a symbolic link"; return 1; }
  # Others than root can only change what is theirs.
  if [ "$i_u" != 0 ] || i_calm; then
    chmod -- "$1" "./$i_h"
  elif [ -d "./$i_h" ]; then
    i_at=${PWD%/}/$i_h
    cd -P -- "./$i_h" || return 1
    [ "$PWD" = "$i_at" ] || { i_no "\`$i_at\` became a symbolic link"; return 1; }
    chmod -- "$1" .
  elif [ -f "./$i_h" ]; then
    { i_opened && chmod -- "$1" /proc/self/fd/7; } 7<"./$i_h"
  else
    i_no "\`${PWD%/}/$i_h\` is no file and no folder, and others than root can exchange it: its mode is not changed"
  fi
}

# Whether the file that is open as 7 is $i_h of this folder, and nothing that a link led to.
i_opened() {
  i_q=$(readlink -n /proc/self/fd/7 && echo x) || { i_no "the host has no /proc"; return 1; }
  [ "${i_q%x}" = "${PWD%/}/$i_h" ] || { i_no "\`${PWD%/}/$i_h\` became a symbolic link"; return 1; }
}
'
eval "$i_some"

# Around something long that writes no record: a sign of life, where somebody waits for one (see prelude.sh).
i_beat() { :; }
i_still() { :; }

i_size() { stat -L -c %s -- "$1" 2>/dev/null || wc -c <"$1"; }

# Records of why a path cannot be looked at: for others than root, `not there` may mean `not shown`.
i_shut() {
  [ "$i_u" != 0 ] || return 0
  case $(LC_ALL=C stat $i_f -- "$i_p" 2>&1 >/dev/null) in
  *'Permission denied'*)
    i_b='Permission denied'
    i_say bad "$1" "$2"
    ;;
  esac
}

# State of the paths $i_p0, $i_p1, ... numbered in $2 ($3: a blank, or -L to follow links); record "stat ITEM".
# Sets i_E (those that exist) and i_z0, i_z1, ... (their sizes).
i_stat() {
  i_k=$1 i_f=$3
  set -- $2
  i_E=
  i_q=$#
  while [ "$i_q" -gt 0 ]; do
    eval "i_p=\$i_p$1"
    if [ -e "$i_p" ] || { [ -z "$i_f" ] && [ -L "$i_p" ]; }; then
      i_E="$i_E $1"
      set -- "$@" "$i_p"
    else
      i_shut "$i_k" "$1"
    fi
    shift
    i_q=$((i_q - 1))
  done
  i_b=
  [ $# -gt 0 ] || { i_say stat "$i_k"; return; }
  case $i_M in *" stat "*)
    i_b='`stat` is missing on the host'
    i_say lack "$i_k" file
    return
    ;;
  esac
  i_q=$#
  i_b=$(stat $i_f -c '%f %u %g %s %Y' -- "$@" 2>/dev/null)
  set -f
  set -- $i_b
  if [ $# -ne $((i_q * 5)) ]; then
    # One of them went away meanwhile.
    i_b=
    for i_q in $i_E; do
      eval "i_p=\$i_p$i_q"
      i_b="$i_b $(stat $i_f -c '%f %u %g %s %Y' -- "$i_p" 2>/dev/null || echo 0 0 0 0 0)"
    done
    set -- $i_b
  fi
  set +f
  i_b=
  for i_q in $i_E; do
    i_b="$i_b$i_q $1 $2 $3 $4 $5 "
    eval "i_z$i_q=\$4"
    shift 5
  done
  i_say stat "$i_k"
}

# Target of a symbolic link: i_link ITEM NUMBER
i_link() {
  eval "i_p=\$i_p$2"
  [ -L "$i_p" ] || return 0
  i_b=$(readlink -n -- "$i_p" 2>/dev/null && echo x) || return 0
  i_b=${i_b%x}
  i_say link "$1" "$2"
}

# Digests of the numbered paths: one line each, in their order; "-" for what could not be read.
i_sums() {
  i_k=$1
  set -- $2
  i_E= i_q=$# i_one=
  while [ "$i_q" -gt 0 ]; do
    eval "i_p=\$i_p$1"
    if [ -f "$i_p" ]; then
      i_E="$i_E $1"
      set -- "$@" "$i_p"
      # A line of output per name holds only for names without a line end.
      case $i_p in *"
"*) i_one=1 ;; esac
    fi
    shift
    i_q=$((i_q - 1))
  done
  [ $# -gt 0 ] || return 0
  i_lo=0
  for i_q in $i_E; do eval "i_lo=\$((i_lo + \${i_z$i_q:-0}))"; done
  [ "$i_lo" -lt 67108864 ] || i_beat
  case $i_M in
  *" sha256sum "*)
    case $i_M in
    *" openssl "*)
      i_b='neither `sha256sum` nor `openssl` is on the host'
      i_say lack "$i_k" sum
      return
      ;;
    esac
    i_b=$(for i_p; do openssl dgst -sha256 -r <"$i_p" 2>/dev/null || echo -; done)
    ;;
  *)
    [ -z "$i_one" ] && i_b=$(sha256sum -- "$@" 2>/dev/null) ||
      i_b=$(for i_p; do sha256sum <"$i_p" 2>/dev/null || echo -; done)
    ;;
  esac
  [ "$i_lo" -lt 67108864 ] || i_still
  i_b="$i_E
$i_b"
  i_say sum "$i_k"
}

# Content of a file: i_text ITEM NUMBER MOST; a larger one is refused, or with a fourth word left out.
i_text() {
  eval "i_p=\$i_p$2 i_z=\${i_z$2:-0}"
  [ -f "$i_p" ] || return 0
  if [ "$i_z" -gt "$3" ]; then
    i_long "$@"
    return 0
  fi
  if [ "$i_z" -gt "${i_room:-$i_z}" ]; then
    i_crowd "$@"
    return 0
  fi
  if [ "$i_z" -gt 0 ] && [ "$i_z" -le 1048576 ]; then
    # A shell variable drops NUL: where the length is not the file's, the slow way is taken.
    { i_b=$(head -c "$((i_z + 1))" -- "$i_p" && echo x); } 2>/dev/null
    if [ "${#i_b}" = $((i_z + 1)) ]; then
      [ -z "$i_room" ] || i_room=$((i_room - i_z))
      i_b=${i_b%x}
      i_say text "$1" "$2"
      return
    fi
  fi
  if head -c "$(($3 + 1))" -- "$i_p" >"$i_D/c" 2>"$i_D/ce"; then
    i_z=$(i_size "$i_D/c")
    if [ "$i_z" -gt "$3" ]; then
      # It grew meanwhile, or it is no file of a disk.
      i_long "$@"
    elif [ "$i_z" -gt "${i_room:-$i_z}" ]; then
      i_crowd "$@"
    else
      [ -z "$i_room" ] || i_room=$((i_room - i_z))
      printf '\n%s text %d %d %d\n' "$i_N" "$1" "$2" "$i_z"
      [ "$i_z" = 0 ] || cat -- "$i_D/c"
    fi
    : >"$i_D/c"
  else
    i_b=$(cat "$i_D/ce")
    i_say bad "$1" "$2"
  fi
}

# There is no room left for it in this frame.
i_crowd() {
  [ -z "$4" ] || return 0
  i_b=$i_cr
  i_say bad "$1" "$2"
}

i_long() {
  [ -z "$4" ] || return 0
  i_b="it has $i_z bytes, and contents of more than $3 bytes are not read"
  i_say bad "$1" "$2"
}

# SHA-256 of a file; nothing where no tool can tell.
i_sum() {
  case $i_M in
  *" sha256sum "*)
    case $i_M in *" openssl "*) return 0 ;; esac
    i_q=$(openssl dgst -sha256 -r <"$1")
    ;;
  *) i_q=$(sha256sum <"$1") ;;
  esac
  printf %s "${i_q%%[!0-9a-f]*}"
}

# The path $1 with all its links resolved: $i_at. $i_whose are the accounts, other than root and our own, whose links
# are among them; $i_via is the last such link.
i_walk() {
  i_at= i_rest=$1/ i_hops=0 i_whose= i_via=
  while [ -n "$i_rest" ]; do
    i_name=${i_rest%%/*} i_rest=${i_rest#*/}
    case $i_name in
    '' | .) continue ;;
    ..)
      i_at=${i_at%/*}
      continue
      ;;
    esac
    if [ -L "$i_at/$i_name" ]; then
      i_hops=$((i_hops + 1))
      [ "$i_hops" -le 40 ] || { i_no "\`$1\` leads through too many symbolic links"; return 1; }
      i_q=$(stat -c %u -- "$i_at/$i_name") || return 1
      case $i_q in
      0 | "$i_u") ;;
      *) i_whose="$i_whose $i_q" i_via=$i_at/$i_name ;;
      esac
      i_q=$(readlink -n -- "$i_at/$i_name" && echo x) || return 1
      i_q=${i_q%x}
      case $i_q in /*) i_at= ;; esac
      i_rest=$i_q/$i_rest
    else
      i_at=$i_at/$i_name
    fi
  done
  [ -n "$i_at" ] || i_at=/
}

# An account's link may lead to what is its own: to anything else it would be a way to have it changed for it.
# $1 the accounts, $2 what the links led to.
i_trust() {
  [ -n "$1" ] || return 0
  i_q=$(stat -c %u -- "$2") || return 1
  for i_name in $1; do
    [ "$i_name" = "$i_q" ] || {
      i_no "\`$i_via\` is a symbolic link made by the account with the number $i_name, and leads to what is not its own: it is not followed"
      return 1
    }
  done
}

# Enters the folder $1. Where we are afterwards, nobody can change; the path may mean something else by then.
i_enter() {
  cd -P -- "$1" 2>/dev/null || { i_no "cannot enter the folder \`$1\`: $(i_why "$1")"; return 1; }
  [ "$PWD" != "$1" ] || return 0
  i_walk "$1" || return 1
  [ "$PWD" = "$i_at" ] || { i_no "\`$1\` leads elsewhere than a moment ago"; return 1; }
  i_trust "$i_whose" .
}

i_why() {
  case $(LC_ALL=C stat -L -- "$1/." 2>&1 >/dev/null) in
  *'Not a directory'*) echo 'it is not a folder' ;;
  *'No such file'*) echo 'it does not exist' ;;
  *) echo 'Permission denied' ;;
  esac
}

# Enters the folder of the path $1; $i_h is the name in it. $2 says what a symbolic link at the path means: nothing,
# that it is meant itself; `own`, that what it leads to is meant where i_trust agrees; `any`, always.
i_place() {
  i_at=$1 i_whose=
  if [ -n "$2" ] && [ -L "$1" ]; then i_walk "$1" || return 1; fi
  [ "$2" != any ] || i_whose=
  i_h=${i_at##*/} i_at=${i_at%/*} i_last=$i_whose i_link=$i_via
  i_enter "${i_at:-/}" || return 1
  case $i_h in '' | . | ..) i_no "\`$1\` is a folder"; return 1 ;; esac
  [ -n "$i_last" ] || return 0
  i_via=$i_link
  if [ -e "./$i_h" ]; then i_trust "$i_last" "./$i_h"; else i_trust "$i_last" .; fi
}

# Owner of what stands at a path: i_chown FOLLOW OWNER PATH
i_chown() { i_place "$3" "$1" && chown -h -- "$2" "./$i_h"; }

# Mode of what stands at a path: i_chmod FOLLOW MODE PATH
i_chmod() { i_place "$3" "$1" && i_mode "$2"; }

# A new folder: i_mkdir MODE PATH
i_mkdir() { i_place "$2" '' && mkdir -m "$1" -- "./$i_h"; }

# A folder and the missing ones above it: i_mkdirs MODE PATH
i_mkdirs() {
  i_k=$1 i_q=$2
  set --
  while [ -n "$i_q" ] && [ ! -d "$i_q" ]; do
    set -- "$i_q" "$@"
    i_q=${i_q%/*}
  done
  for i_dir; do
    i_mkdir "$i_k" "$i_dir" || [ -d "$i_dir" ] || return 1
  done
}

# A new, empty file: i_touch MODE PATH. It never empties one that came to be meanwhile.
i_touch() {
  i_place "$2" '' || return 1
  set -C
  { chmod -- "$1" "$(i_handle)"; } 7>"./$i_h"
  i_q=$?
  set +C
  return "$i_q"
}

# What names the file that is open as 7.
i_handle() { if [ -e /proc/self/fd/7 ]; then echo /proc/self/fd/7; else printf '%s\n' "./$i_h"; fi; }

# A symbolic link in the place of what is there: i_symlink TARGET PATH
i_symlink() {
  i_place "$2" '' || return 1
  i_short
  if [ -d "./$i_h" ] && [ ! -L "./$i_h" ]; then rmdir -- "./$i_h" || return 1; fi
  ln -s -- "$1" "./.$i_s.ishprov.$i_T" && mv -fT -- "./.$i_s.ishprov.$i_T" "./$i_h" && return 0
  rm -f -- "./.$i_s.ishprov.$i_T"
  return 1
}

# Nothing at a path any more: i_remove PATH
i_remove() { i_place "$1" '' && rm -rf -- "./$i_h"; }

# Mode of files or folders below a folder: i_modes TYPE FOUND WANTED PATH
i_modes() {
  i_enter "$4" || return 1
  if [ "$i_u" != 0 ]; then
    find . -mindepth 1 -type "$1" -perm "$2" -exec chmod -- "$3" {} +
    return
  fi
  # In a folder of root's all at once; in any other one by one, each held fast first.
  find . -mindepth 1 -type "$1" -perm "$2" -execdir sh -c "i_u=0
$i_some"'
    i_k=$1
    shift
    cd -P . || exit 1
    if i_calm; then exec chmod -- "$i_k" "$@"; fi
    for i_p; do ( i_h=${i_p#./}; i_mode "$i_k" ) || i_bad=1; done
    [ -z "$i_bad" ]' sh "$3" {} +
}

# $i_s is the name $i_h, short enough to have an ending.
i_short() {
  i_s=$i_h
  [ "${#i_s}" -le 40 ] || i_s=$(printf '%.40s' "$i_h")
}

# Whether the session lives whose temporary file has this ending.
i_lives() {
  # One of another host, in a folder that hosts share, is not ours to judge.
  case $1 in *.*) [ "${1%.*}" = "$i_node" ] || return 0 ;; esac
  for i_q in "/run/.ishprov.${1##*.}"* "/dev/shm/.ishprov.${1##*.}"* "/tmp/.ishprov.${1##*.}"*; do
    [ -d "$i_q" ] || continue
    { read -r i_k <"$i_q/pid"; } 2>/dev/null || return 0
    ! kill -0 "$i_k" 2>/dev/null || return 0
  done
  return 1
}

# Puts $1 bytes of i_take in the place of $i_p: $i_fol what a link there means, $i_m mode, $i_ow owner, $i_gr group,
# $i_bk ending of the backup, $i_va command of validation for $2 seconds, $i_ex digest of what is to be there
# (`none` for nothing).
i_stage() {
  i_place "$i_p" "$i_fol" || return 1
  [ "$i_u" = 0 ] || [ -w . ] || { i_no "the folder \`$PWD\` may not be written to: Permission denied"; return 1; }
  if [ ! -L "./$i_h" ]; then
    [ ! -d "./$i_h" ] || { i_no "\`$i_p\` is a directory"; return 1; }
    [ ! -e "./$i_h" ] || [ -f "./$i_h" ] || { i_no "\`$i_p\` is not a regular file"; return 1; }
  elif [ -n "$i_fol" ]; then
    i_no "\`$i_p\` leads elsewhere than a moment ago"
    return 1
  fi
  i_short
  # What an earlier run left when it was killed.
  for i_left_over in "./.$i_s.ishprov."*; do
    if [ -f "$i_left_over" ] || [ -L "$i_left_over" ]; then
      i_lives "${i_left_over##*.ishprov.}" || rm -f -- "$i_left_over"
    fi
  done
  i_old= i_kept=
  if [ -e "./$i_h" ] && [ ! -L "./$i_h" ]; then
    i_old=$(stat -c '%f %a %u %g' -- "./$i_h") || return 1
    case $i_old in
    8???\ *) i_old=${i_old#* } ;;
    *) i_no "\`$i_p\` is no regular file any more"; return 1 ;;
    esac
    [ -n "$i_m" ] || i_m=${i_old%% *}
    i_q=${i_old#* }
    if [ -z "$i_ow" ] && [ -z "$i_gr" ] && [ "$i_u" != 0 ]; then
      # An account cannot give files away: as much of the old owner is kept as it may.
      i_kept=${i_q#* }
    else
      [ -n "$i_ow" ] || i_ow=${i_q% *}
      [ -n "$i_gr" ] || i_gr=${i_q#* }
    fi
  fi
  i_x=./.$i_s.ishprov.$i_T
  # set -C: never through a file or link that someone else put under this name.
  set -C
  { i_fill "$1"; } 7>"$i_x"
  i_q=$?
  set +C
  [ "$i_q" = 0 ] || return 1
  if [ -n "$i_va" ]; then
    i_t="cd /; $i_va" i_v=${PWD%/}/${i_x#./}
    i_go "$2" ''
    i_v=
    [ "$i_r" = 0 ] || { i_no "the staged file did not pass its validation; \`$i_p\` is as it was"; return 1; }
  fi
  if [ -n "$i_bk" ] && [ -n "$i_old" ]; then
    # A second name for the old file: complete at any moment.
    ln -- "./$i_h" "./$i_h$i_bk" 2>/dev/null || i_copy "./$i_h" "./$i_h$i_bk" || return 1
  fi
  i_same || return 1
  mv -fT -- "$i_x" "./$i_h" || return 1
  i_x=
}

# After a failed i_stage.
i_undo() {
  [ "$i_r" != 0 ] || i_r=1
  [ -z "$i_x" ] || rm -f -- "$i_x"
}

# The new file, open as 7: content, then owner and mode. Until then only we may read it.
i_fill() {
  set +C
  i_fd=$(i_handle)
  i_take "$1" >&7 || return 1
  [ "$(i_size "$i_fd")" = "$1" ] || { i_no "the content did not arrive whole"; return 1; }
  case $i_ow:$i_gr in
  :) ;;
  *:) chown -- "$i_ow" "$i_fd" || return 1 ;;
  *) chown -- "$i_ow:$i_gr" "$i_fd" || return 1 ;;
  esac
  [ -z "$i_kept" ] || chown -- ":$i_kept" "$i_fd" 2>/dev/null
  chmod -- "${i_m:-0600}" "$i_fd" || return 1
  i_beat
  sync "$i_fd" 2>/dev/null || sync
  i_q=$?
  i_still
  return "$i_q"
}

# A copy with owner and mode, where there is nothing yet.
i_copy() {
  set -C
  i_beat
  { cat -- "$1" >&7 && i_q=$(stat -c '%a %u:%g' -- "$1") && { chown -- "${i_q#* }" /proc/self/fd/7 2>/dev/null || [ "$i_u" != 0 ]; } &&
    chmod -- "${i_q% *}" /proc/self/fd/7; } 7>"$2"
  i_q=$?
  i_still
  set +C
  [ "$i_q" = 0 ] || i_no "the backup \`$2\` cannot be made"
}

# Whether what is to be replaced is what the decision was made on. Sessions of one account come here one at a time.
i_same() {
  [ -n "$i_ex" ] || return 0
  if [ -n "$i_lock" ] && command -v flock >/dev/null 2>&1; then flock -w 20 8; fi
  if [ -L "./$i_h" ]; then
    i_now=none
  elif [ -e "./$i_h" ]; then
    i_now=$(i_sum "./$i_h")
    [ -n "$i_now" ] || return 0
  else
    i_now=none
  fi
  [ "$i_now" != "$i_ex" ] || return 0
  i_r=75
  i_no "\`$i_p\` was changed by somebody else after it was read"
}
