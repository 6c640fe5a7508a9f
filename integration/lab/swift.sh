# shellcheck shell=bash
# Swift: one independent cluster a region, one device and one replica each. Sourced by up and region.
#
# Each region has two storage policies: the default, which has one name everywhere, and one with a name
# of the region's own, so that neither knows the other's.

swift_d() { # alias name configuration-file program   starts it with the region's swift.conf (see swiftd.py)
  start "$2" "$3" python3 "$LAB/swiftd.py" "$S/conf/$1/swift.conf" "/usr/bin/$4" "$3" -v   # -v: log to standard output too, since there may be no /dev/log
}

swift_rings() { # alias...   writes what is missing of the regions' storage policies and rings
  local a e typ rings=()
  for a in "$@"; do
    e="$S/conf/$a"
    [ -f "$e/swift.conf" ] || put "$e/swift.conf" <<C
[swift-hash]
swift_hash_path_prefix = changeme
swift_hash_path_suffix = changeme
[storage-policy:0]
name = Policy-0
default = yes
[storage-policy:1]
name = cold-$a
C
    for typ in account container object object-1; do
      [ -f "$e/$typ.ring.gz" ] || rings+=("$e:$typ:$(port "$a" "${typ%-*}")")
    done
  done
  [ ${#rings[@]} = 0 ] || python3 "$LAB/rings.py" "${rings[@]}"
}

swift_conf() { # alias   writes the region's configuration
  local a="$1" e="$S/conf/$1" d="$DATA/$1" typ p
  local memc; memc="127.0.0.1:$(port "$a" memcached)"
  mkdir -p "$e" "$d/d1" "$e/cache" "$e/lock"
  echo "memcached of $a" >"$e/memcached"
  # Each cluster has a memcached of its own: the account names are the same in all of them (one
  # Keystone, one project id), so with a shared one each would read the others' container info.
  # operator_roles leaves "reader" out: a reader sees only what a container's ACL shows it.
  put "$e/proxy-server.conf" <<C
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $(port "$a" proxy)
workers = 2
user = root
swift_dir = $e
log_level = INFO
log_name = swift-proxy-$a
client_timeout = 120
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk tempurl ratelimit authtoken s3api s3token keystoneauth copy container-quotas account-quotas slo dlo versioned_writes symlink proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:cache]
use = egg:swift#memcache
memcache_servers = $memc
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:tempurl]
use = egg:swift#tempurl
[filter:ratelimit]
use = egg:swift#ratelimit
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = $KS
auth_url = $KS
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = service
username = swift
password = $PW
delay_auth_decision = true
include_service_catalog = false
cache = swift.cache
token_cache_time = 300
log_level = WARNING
[filter:s3api]
use = egg:swift#s3api
check_bucket_owner = false
[filter:s3token]
use = egg:swift#s3token
auth_uri = $KS/v3
delay_auth_decision = true
reseller_prefix = AUTH_
auth_type = password
auth_url = $KS
username = swift
password = $PW
project_name = service
user_domain_id = default
project_domain_id = default
[filter:keystoneauth]
use = egg:swift#keystoneauth
reseller_prefix = AUTH
operator_roles = admin, member, swiftoperator
reseller_admin_role = ResellerAdmin
[filter:copy]
use = egg:swift#copy
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:account-quotas]
use = egg:swift#account_quotas
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
C
  for typ in account container object; do
    p=$(port "$a" $typ)
    put "$e/$typ-server.conf" <<C
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $p
workers = $([ $typ = object ] && echo 2 || echo 0)
user = root
swift_dir = $e
devices = $d
mount_check = false
fallocate_reserve = 0
log_level = WARNING
log_name = swift-$typ-$a
[pipeline:main]
pipeline = healthcheck recon $typ-server
[app:$typ-server]
use = egg:swift#$typ
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:recon]
use = egg:swift#recon
recon_cache_path = $e/cache
recon_lock_path = $e/lock
[$typ-updater]
recon_cache_path = $e/cache
interval = $([ $typ = container ] && echo 15 || echo 60)
concurrency = 1
updater_workers = 1
C
  done
  internal_client() { # pipeline
    cat <<C
[DEFAULT]
swift_dir = $e
user = root
log_level = WARNING
log_name = swift-expirer-$a
[object-expirer]
interval = 15
recon_cache_path = $e/cache
internal_client_conf_path = $e/internal-client.conf
[pipeline:main]
pipeline = catch_errors cache $1 proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = $memc
[filter:symlink]
use = egg:swift#symlink
C
  }
  internal_client "" | put "$e/object-expirer.conf"
  internal_client symlink | put "$e/internal-client.conf"
}

proxy_start() { # alias
  swift_rings "$1"   # a lab that is older than its policies gets them with the first proxy that starts again
  swift_d "$1" "swift-proxy-$1" "$S/conf/$1/proxy-server.conf" swift-proxy-server
}

swift_start() {
  local a e typ
  for a in "${ALIASES[@]}"; do swift_conf "$a"; done
  swift_rings "${ALIASES[@]}"
  for a in "${ALIASES[@]}"; do
    e="$S/conf/$a"
    start "memcached-$a" "$e/memcached" memcached -l 127.0.0.1 -U 0 -p "$(port "$a" memcached)" -m 64 -u root
    for typ in account container object; do swift_d "$a" "swift-$typ-$a" "$e/$typ-server.conf" "swift-$typ-server"; done
    proxy_start "$a"
  done
}

swift_wait() {
  local a e r m
  for a in "${ALIASES[@]}"; do
    for r in account container object proxy; do
      wait_http "http://127.0.0.1:$(port "$a" $r)/healthcheck" "swift-$r-$a" 180
    done
  done
  for a in "${ALIASES[@]}"; do
    e="$S/conf/$a"
    for m in $DAEMONS; do
      case $m in
        container-updater) swift_d "$a" "swift-$m-$a" "$e/container-server.conf" "swift-$m";;
        object-updater)    swift_d "$a" "swift-$m-$a" "$e/object-server.conf"    "swift-$m";;
        object-expirer)    swift_d "$a" "swift-$m-$a" "$e/object-expirer.conf"   "swift-$m";;
        *) die "FARSHORE_LAB_DAEMONS: no daemon '$m'";;
      esac
    done
  done
}
