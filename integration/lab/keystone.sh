# shellcheck shell=bash
# Keystone: the one identity service of all regions. Sourced by up.
#
# SQLite will do: Fernet tokens are not stored, so a running lab writes to the database only when
# somebody makes users or application credentials. It must be in WAL mode, or a writer fails with
# "database is locked" while the other Keystone process reads.
keystone_start() {
  local k="$S/conf/keystone"
  mkdir -p "$k"
  : >"$k/memcached"
  start memcached "$k/memcached" memcached -l 127.0.0.1 -U 0 -p "$P_MEMC" -m 64 -u root
  put "$k/keystone.conf" <<C
[DEFAULT]
use_stderr = true
log_level = WARNING
[cache]
enabled = true
backend = dogpile.cache.memcached
memcache_servers = 127.0.0.1:$P_MEMC
[database]
connection = sqlite:///$S/keystone.db
sqlite_synchronous = false
[token]
provider = fernet
expiration = $TOKEN_LIFE
[fernet_tokens]
key_repository = $k/fernet
[fernet_receipts]
key_repository = $k/fernet
[credential]
key_repository = $k/credential
[identity]
password_hash_rounds = 4
[oslo_policy]
enforce_scope = false
C
  manage() { keystone-manage --config-file "$k/keystone.conf" "$@" >>"$S/log/keystone-manage.log" 2>&1 || die "keystone-manage $1 failed; see $S/log/keystone-manage.log"; }
  if [ ! -f "$S/seeded" ]; then
    stop keystone
    rm -rf "$S"/keystone.db* "$k/fernet" "$k/credential"
    # What keystone-manage's fernet_setup and credential_setup do, without their start-up time.
    (umask 077; python3 - "$S/keystone.db" "$k/fernet" "$k/credential" <<'P'
import os, sqlite3, sys
from cryptography.fernet import Fernet
sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode=WAL')
for folder in sys.argv[2:]:
    os.mkdir(folder)
    for name in '01':
        with open(os.path.join(folder, name), 'wb') as f:
            f.write(Fernet.generate_key())
P
    )
    manage db_sync
    manage bootstrap --bootstrap-password "$PW" --bootstrap-region-id "${NAMES[0]}" \
      --bootstrap-admin-url "$KS/v3" --bootstrap-internal-url "$KS/v3" --bootstrap-public-url "$KS/v3"
  fi
  # "Connection: close": a Python client reusing a kept connection has been seen to get ECONNRESET.
  OS_KEYSTONE_CONFIG_FILES="$k/keystone.conf" start keystone "$k/keystone.conf" \
    uwsgi_python3 --http-socket "127.0.0.1:$P_KEYSTONE" --wsgi-file /usr/bin/keystone-wsgi-public \
    --master --die-on-term --lazy-apps --enable-threads --processes 2 --threads 8 --thunder-lock \
    --buffer-size 65535 --add-header "Connection: close" --no-orphans --disable-logging
  wait_http "$KS/v3" keystone 180
  local i a seed seeds=()
  for i in "${!NAMES[@]}"; do
    a="${ALIASES[i]}"
    seed="$a=${NAMES[i]}=$(port "$a" proxy)"
    if has_cinder "$a"; then seed+="=$(port "$a" cinder)=$DATA/$a/volumes"; fi
    seeds+=("$seed")
  done
  if ! cmp -s <(cat "$LAB/seed.py"; echo "# ${seeds[*]}") "$S/seeded"; then
    FARSHORE_LAB_PW="$PW" /usr/bin/python3 "$LAB/seed.py" "$KS/v3" "$S" "$LAB" "${seeds[@]}"
    { cat "$LAB/seed.py"; echo "# ${seeds[*]}"; } >"$S/seeded"
  fi
}
