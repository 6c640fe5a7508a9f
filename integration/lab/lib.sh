# shellcheck shell=bash
# Shared by the lab's scripts. Source it: it sets names and defines functions, and starts nothing.
set -euo pipefail
LAB="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# Debian's python3 must come first: another one lacks the OpenStack modules.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 no_proxy=127.0.0.1 NO_PROXY=127.0.0.1   # apt may want its proxy
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV "${!OS_@}"

say() { printf '%s lab: %s\n' "$(date +%H:%M:%S)" "$*"; }
die() { printf 'lab: %s\n' "$*" >&2; exit 1; }

# --- settings: environment, else what this state folder was made with, else the default ----------
S="${FARSHORE_LAB_STATE:-/var/tmp/farshore-lab}"
case "$S" in /*) ;; *) die "FARSHORE_LAB_STATE must be an absolute path, not '$S'";; esac
kept() { sed -n "s/^$1=//p" "$S/settings" 2>/dev/null || true; }
PORT_BASE="${FARSHORE_LAB_PORT_BASE:-$(kept PORT_BASE)}";  PORT_BASE="${PORT_BASE:-17500}"
REGIONS="${FARSHORE_LAB_REGIONS:-$(kept REGIONS)}";        REGIONS="${REGIONS:-RegionOne RegionTwo RegionThree}"
DATA="${FARSHORE_LAB_DATA:-$(kept DATA)}";                 DATA="${DATA:-$S/data}"
PW="${FARSHORE_LAB_PASSWORD:-$(kept PW)}";                 PW="${PW:-labsecret}"
TOKEN_LIFE="${FARSHORE_LAB_TOKEN_LIFE:-86400}"             # seconds; may change from one `up` to the next
DAEMONS="${FARSHORE_LAB_DAEMONS-container-updater object-updater object-expirer}"
SERVICES="${FARSHORE_LAB_SERVICES:-$(kept SERVICES)}"      # these three too; a lab keeps what it was last told
# A state folder without the line is older than the lab's Cinder.
SERVICES="${SERVICES:-$([ -f "$S/settings" ] && echo swift || echo swift cinder)}"
CINDER="${FARSHORE_LAB_CINDER:-$(kept CINDER)}";           CINDER="${CINDER:-one two}"
COMPRESSION="${FARSHORE_LAB_BACKUP_COMPRESSION:-$(kept COMPRESSION)}"; COMPRESSION="${COMPRESSION:-zlib}"

read -ra NAMES <<<"$REGIONS"
ALL_ALIASES=(one two three four five)
[ ${#NAMES[@]} -ge 2 ] && [ ${#NAMES[@]} -le ${#ALL_ALIASES[@]} ] ||
  die "FARSHORE_LAB_REGIONS must name 2 to ${#ALL_ALIASES[@]} regions, not '$REGIONS'"
ALIASES=("${ALL_ALIASES[@]:0:${#NAMES[@]}}")
case " $SERVICES " in
  " swift ") CINDERS=();;
  " swift cinder ") read -ra CINDERS <<<"$CINDER";;
  *) die "FARSHORE_LAB_SERVICES must be 'swift' or 'swift cinder', not '$SERVICES'";;
esac
has_cinder() { case " ${CINDERS[*]} " in *" $1 "*) ;; *) return 1;; esac; } # alias
for a in "${CINDERS[@]}"; do
  case " ${ALIASES[*]} " in *" $a "*) ;; *) die "FARSHORE_LAB_CINDER names '$a': the regions are ${ALIASES[*]}";; esac
done

# --- ports, all on 127.0.0.1: ten that all regions share, and ten a region -----------------------
P_KEYSTONE=$PORT_BASE
P_MEMC=$((PORT_BASE + 1))
P_RABBIT=$((PORT_BASE + 2))
P_RABBITDIST=$((PORT_BASE + 3))
P_EPMD=$((PORT_BASE + 4))
port() { # alias role
  local i
  for i in "${!ALIASES[@]}"; do
    [ "${ALIASES[i]}" = "$1" ] || continue
    local b=$((PORT_BASE + 10 * (i + 1)))
    case $2 in proxy) echo $b;; object) echo $((b + 1));; container) echo $((b + 2));; account) echo $((b + 3));; memcached) echo $((b + 4));; cinder) echo $((b + 5));; esac
    return
  done
  die "no region '$1': the regions are ${ALIASES[*]}"
}
KS="http://127.0.0.1:$P_KEYSTONE"

# One script at a time in a state folder. fd 9 holds the lock; daemons must not inherit it.
lock() {
  mkdir -p "$S"/{run,log,conf}
  exec 9>"$S/lock"
  flock -w 300 9 || die "another lab script has held $S/lock for 5 minutes"
}

# --- processes: only by pid file, guarded by the kernel's start time -----------------------------
starttime() { awk '{sub(/.*\) /,""); print $20}' "/proc/$1/stat" 2>/dev/null; }
alive() { # name
  local pid st _
  [ -f "$S/run/$1.pid" ] || return 1
  read -r pid st _ <"$S/run/$1.pid" || return 1
  [ -n "$pid" ] && [ "$(starttime "$pid")" = "$st" ] &&
    [ "$(awk '{sub(/.*\) /,""); print $1}' "/proc/$pid/stat" 2>/dev/null)" != Z ]
}
start() { # name configuration-file cmd...   restarts it when its command or configuration changed
  local n="$1" conf="$2" want pid; shift 2
  want=$({ echo "$*"; cat "$conf"; } | sha256sum | cut -c1-16)
  if alive "$n"; then
    grep -q " $want\$" "$S/run/$n.pid" && return 0
    stop "$n"
  fi
  setsid nohup "$@" >>"$S/log/$n.log" 2>&1 </dev/null 9>&- &
  pid=$!
  echo "$pid $(starttime $pid) $want" >"$S/run/$n.pid"
}
stop() { # name...   TERM, and after five seconds KILL, for the whole process group
  local n pid st _
  for n in "$@"; do
    if alive "$n"; then
      read -r pid st _ <"$S/run/$n.pid"
      kill -CONT -- "-$pid" 2>/dev/null || true   # a frozen one could not answer TERM
      kill -TERM "$pid" 2>/dev/null || true
    fi
  done
  for n in "$@"; do
    [ -f "$S/run/$n.pid" ] || continue
    read -r pid st _ <"$S/run/$n.pid"
    for _ in $(seq 1 50); do alive "$n" || break; sleep 0.1; done
    # setsid made the daemon the leader of its own group. Its workers are in it, and none may
    # outlive it holding the port. A group without its leader is safe to name only while it has
    # members: the kernel gives no new process that id before the last of them is gone.
    if alive "$n" || { [ -z "$(starttime "$pid")" ] && pgrep -g "$pid" >/dev/null; }; then
      kill -KILL -- "-$pid" 2>/dev/null || true
    fi
    rm -f "$S/run/$n.pid"
  done
}
running() { # names that have a pid file
  local f
  for f in "$S"/run/*.pid; do [ -e "$f" ] && basename "$f" .pid; done
  return 0
}
wait_http() { # url name seconds   any answer below 500 counts
  local c=000 end=$((SECONDS + $3))
  while [ $SECONDS -lt $end ]; do
    c=$(curl -s -o /dev/null -m 5 -w '%{http_code}' "$1" || true)
    [ "$c" != 000 ] && [ "$c" -lt 500 ] && return 0
    alive "$2" || { tail -5 "$S/log/$2.log" >&2; die "$2 died; see $S/log/$2.log"; }
    sleep 0.1
  done
  tail -5 "$S/log/$2.log" >&2
  die "$2 did not answer at $1 in $3 s (last: $c); see $S/log/$2.log"
}
put() { # file   writes standard input to it
  mkdir -p "$(dirname "$1")"
  (umask 077; cat >"$1.new")
  mv "$1.new" "$1"
}
