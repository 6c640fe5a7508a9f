# shellcheck shell=bash
# Cinder: API, scheduler, volume and backup service a region, backups in the region's own Swift; and
# the MariaDB and RabbitMQ under them. Sourced by up and region.

CINDER_SERVICES=(api scheduler volume backup)
SQL() { mariadb --no-defaults --batch --skip-column-names -uroot -S "$S/mysql/sock" "$@"; }

# Through its socket only, and root without a password: the folder is root's alone.
mariadb_start() {
  local m="$S/mysql" end=$((SECONDS + 120))
  (umask 077; mkdir -p "$m" "$m/tmp")
  if [ ! -f "$m/made" ]; then
    stop mariadb
    rm -rf "$m/data"
    mariadb-install-db --no-defaults --user=root --datadir="$m/data" --auth-root-authentication-method=normal \
      --skip-test-db >"$S/log/mariadb-install.log" 2>&1 || die "mariadb-install-db failed; see $S/log/mariadb-install.log"
    touch "$m/made"
  fi
  # Nothing here outlives a power cut, and need not.
  start mariadb "$m/made" mariadbd --no-defaults --user=root --datadir="$m/data" --tmpdir="$m/tmp" \
    --socket="$m/sock" --pid-file="$m/pid" --skip-networking --skip-log-bin --performance-schema=off \
    --innodb-flush-log-at-trx-commit=2 --innodb-flush-method=nosync --skip-innodb-doublewrite \
    --innodb-buffer-pool-size=64M --max-connections=200 \
    --character-set-server=utf8mb3 --collation-server=utf8mb3_general_ci
  until SQL -e 'SELECT 1' >/dev/null 2>&1; do
    alive mariadb && [ $SECONDS -lt $end ] || die "MariaDB does not answer; see $S/log/mariadb.log"
    sleep 0.1
  done
}

rabbit_password() { printf 'rabbit %s' "$PW" | sha256sum | cut -c1-32; }

rabbit_start() {
  local r="$S/rabbit" a
  mkdir -p "$r"/{mnesia,log,home}
  put "$r/rabbitmq.conf" <<C
listeners.tcp.1 = 127.0.0.1:$P_RABBIT
loopback_users = none
load_definitions = $r/definitions.json
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = warning
log.file = false
C
  put "$r/advanced.config" <<<'[{kernel,[{inet_dist_use_interface,{127,0,0,1}}]}].'
  put "$r/plugins" <<<'[].'
  # A virtual host for each region, by a definitions file: rabbitmqctl costs seconds a call.
  (umask 077; python3 - "$(rabbit_password)" "$r/definitions.json" "${CINDERS[@]}" <<'P'
import base64, hashlib, json, sys
password, path, hosts = sys.argv[1], sys.argv[2], sys.argv[3:]
salt = b'flab'
secret = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
with open(path, 'w') as f:
    json.dump({'users': [{'name': 'lab', 'password_hash': secret, 'tags': 'administrator',
                          'hashing_algorithm': 'rabbit_password_hashing_sha256'}],
               'vhosts': [{'name': h} for h in hosts],
               'permissions': [{'user': 'lab', 'vhost': h, 'configure': '.*', 'write': '.*', 'read': '.*'}
                               for h in hosts]}, f)
P
  )
  (
    export HOME="$r/home" RABBITMQ_NODENAME=lab@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
    export RABBITMQ_NODE_PORT=$P_RABBIT RABBITMQ_DIST_PORT=$P_RABBITDIST
    export RABBITMQ_CONFIG_FILE="$r/rabbitmq.conf" RABBITMQ_ADVANCED_CONFIG_FILE="$r/advanced.config"
    export RABBITMQ_MNESIA_BASE="$r/mnesia" RABBITMQ_LOG_BASE="$r/log"
    export RABBITMQ_ENABLED_PLUGINS_FILE="$r/plugins" RABBITMQ_CONF_ENV_FILE=/dev/null
    export ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$P_EPMD
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
    # RabbitMQ would start an epmd that outlives it.
    start epmd "$r/plugins" epmd -address 127.0.0.1 -port "$P_EPMD"
    until (exec 3<>"/dev/tcp/127.0.0.1/$P_EPMD") 2>/dev/null; do alive epmd || die "epmd died; see $S/log/epmd.log"; sleep 0.1; done
    start rabbit "$r/rabbitmq.conf" /usr/lib/rabbitmq/bin/rabbitmq-server
  )
}

cinder_conf() { # alias   writes the region's configuration
  local a="$1" c="$S/conf/$1/cinder"
  mkdir -p "$c"/{state,lock,coord,conversion} "$DATA/$a/volumes"
  put "$c/cinder.conf" <<C
[DEFAULT]
use_stderr = true
log_level = INFO
default_log_levels = amqp=WARN,amqplib=WARN,sqlalchemy=WARN,oslo.messaging=WARN,oslo_messaging=WARN,stevedore=WARN,urllib3=WARN,keystonemiddleware=WARN,oslo_policy=ERROR,eventlet.wsgi.server=INFO
my_ip = 127.0.0.1
host = $a
state_path = $c/state
auth_strategy = keystone
transport_url = rabbit://lab:$(rabbit_password)@127.0.0.1:$P_RABBIT/$a
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = $(port "$a" cinder)
osapi_volume_workers = 1
api_paste_config = /etc/cinder/api-paste.ini
resource_query_filters_file = /etc/cinder/resource_filters.json
rootwrap_config = /etc/cinder/rootwrap.conf
image_conversion_dir = $c/conversion
enabled_backends = files
default_volume_type = standard
storage_availability_zone = zone-$a
quota_volumes = 500
quota_snapshots = 500
quota_gigabytes = 5000
quota_backups = 500
quota_backup_gigabytes = 5000
backup_driver = cinder.backup.drivers.swift.SwiftBackupDriver
# Without it the driver takes the catalog's first object-store, which is one region's for all of them.
backup_swift_url = http://127.0.0.1:$(port "$a" proxy)/v1/AUTH_
backup_swift_auth = per_user
backup_compression_algorithm = $COMPRESSION
backup_workers = 1
backup_native_threads_pool_size = 20
report_interval = 3
service_down_time = 20
[files]
volume_driver = labfile.LabFileDriver
volume_backend_name = files
lab_folder = $DATA/$a/volumes
[database]
connection = mysql+pymysql://root@localhost/cinder_$a?charset=utf8&unix_socket=$S/mysql/sock
max_pool_size = 5
[coordination]
backend_url = file://$c/coord
[oslo_concurrency]
lock_path = $c/lock
[oslo_policy]
policy_dirs = $c/policy.d
[privsep_osbrick]
helper_command = privsep-helper --config-file $c/cinder.conf
[cinder_sys_admin]
helper_command = privsep-helper --config-file $c/cinder.conf
[key_manager]
backend = cinder.keymgr.conf_key_mgr.ConfKeyManager
fixed_key = 0000000000000000000000000000000000000000000000000000000000000000
[keystone_authtoken]
www_authenticate_uri = $KS
auth_url = $KS
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = service
username = cinder
password = $PW
memcached_servers = 127.0.0.1:$P_MEMC
C
}

cinder_sync() { # alias   makes the database, and brings it up to the package's version
  local a="$1" have="$S/conf/$1/cinder/synced" want
  want=$(dpkg-query -W -f '${Version}' python3-cinder)
  [ "$(cat "$have" 2>/dev/null)" != "$want" ] || return 0
  SQL -e "CREATE DATABASE IF NOT EXISTS cinder_$a"
  cinder-manage --config-file "$S/conf/$a/cinder/cinder.conf" db sync >>"$S/log/cinder-manage-$a.log" 2>&1 ||
    die "cinder-manage db sync failed; see $S/log/cinder-manage-$a.log"
  put "$have" <<<"$want"
}

cinder_service_start() { # alias service
  local n="cinder-$2-$1" c="$S/conf/$1/cinder/cinder.conf" all="$S/conf/$1/cinder/$2.started" was
  was=$(cat "$S/run/$n.pid" 2>/dev/null || true)
  # What it is made of: the driver too, for the one that runs it.
  { cat "$c"; [ "$2" != volume ] || cat "$LAB/driver/labfile.py"; } | put "$all"
  # One malloc arena: cinder-backup's threads would each keep what its 50 MiB buffers need.
  PYTHONPATH="$LAB/driver" PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=1 \
    start "$n" "$all" "cinder-$2" --config-file "$c"
  # A service counts its reports from when it is ready, the first report_interval after that.
  [ "$was" = "$(cat "$S/run/$n.pid")" ] || [ "$2" = api ] ||
    SQL "cinder_$1" -e "UPDATE services SET report_count = 0 WHERE \`binary\` = 'cinder-$2'"
}

cinder_service_wait() { # alias service
  local n="cinder-$2-$1" end=$((SECONDS + 180))
  [ "$2" != api ] || { wait_http "http://127.0.0.1:$(port "$1" cinder)/healthcheck" "$n" 180; return; }
  until [ "$(SQL "cinder_$1" -e "SELECT COUNT(*) FROM services WHERE deleted = 0 AND \`binary\` = 'cinder-$2' AND report_count > 0")" = 1 ]; do
    alive "$n" || { tail -5 "$S/log/$n.log" >&2; die "$n died; see $S/log/$n.log"; }
    [ $SECONDS -lt $end ] || die "$n reports nothing; see $S/log/$n.log"
    sleep 0.2
  done
}

# What an earlier `up` started and this one was not asked for.
cinder_stop_others() {
  local a s names=()
  for a in "${ALIASES[@]}"; do
    has_cinder "$a" || for s in "${CINDER_SERVICES[@]}"; do names+=("cinder-$s-$a"); done
  done
  [ ${#CINDERS[@]} != 0 ] || names+=(rabbit epmd mariadb)
  stop "${names[@]}"
}

cinder_start() {
  local a s pids=() p
  [ ${#CINDERS[@]} != 0 ] || return 0
  rabbit_start
  mariadb_start
  for a in "${CINDERS[@]}"; do cinder_conf "$a"; cinder_sync "$a" & pids+=($!); done
  for p in "${pids[@]}"; do wait "$p"; done
  for a in "${CINDERS[@]}"; do
    for s in "${CINDER_SERVICES[@]}"; do cinder_service_start "$a" "$s"; done
  done
}

cinder_wait() {
  local a s i seeds=()
  for a in "${CINDERS[@]}"; do cinder_service_wait "$a" api; done
  for i in "${!NAMES[@]}"; do
    a="${ALIASES[i]}"
    has_cinder "$a" || continue
    cmp -s "$LAB/cinder_seed.py" "$S/conf/$a/cinder/seeded" || seeds+=("$a=${NAMES[i]}")
  done
  if [ ${#seeds[@]} != 0 ]; then
    FARSHORE_LAB_PW="$PW" /usr/bin/python3 "$LAB/cinder_seed.py" "$KS/v3" "${seeds[@]}"
    for a in "${seeds[@]}"; do cp "$LAB/cinder_seed.py" "$S/conf/${a%%=*}/cinder/seeded"; done
  fi
  for a in "${CINDERS[@]}"; do
    for s in "${CINDER_SERVICES[@]}"; do cinder_service_wait "$a" "$s"; done
  done
}
