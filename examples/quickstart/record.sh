#!/usr/bin/env bash
# Records what a real web application firewall and a real sshd report about a few minutes of traffic of our own.
#
#   sudo ./record.sh [FOLDER]      writes FOLDER/modsec_audit.json and FOLDER/auth.log (default: recording/ beside this file)
#
# Needs Debian's (or Ubuntu's) nginx-light libnginx-mod-http-modsecurity modsecurity-crs openssh-server openssh-client
# dropbear-bin rsyslog curl iproute2. The cast is in record/traffic.sh, the servers' configuration beside it.
#
# Nothing of this reaches the machine it runs on. All of it lives in mount, pid and network namespaces of its own: the
# accounts are made in a private copy of /etc, /run and /dev are private too, and no interface leads out. When the
# script ends, whichever way, the kernel ends every process and takes the namespaces apart.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly work=/run/kelpie-recording
readonly limit=600 # seconds; a run takes about three minutes

die() { printf 'record.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }

require() {
    [[ $EUID -eq 0 ]] || die "must run as root: it makes namespaces"
    local path
    for path in /usr/sbin/nginx /usr/sbin/sshd /usr/sbin/rsyslogd /usr/bin/ssh /usr/bin/dbclient /usr/bin/curl /usr/sbin/ip \
        /usr/share/nginx/modules/ngx_http_modsecurity_module.so /usr/share/modsecurity-crs/rules; do
        [[ -e $path ]] || die "$path is missing: see the packages at the top of this file"
    done
}

# --- inside the namespaces -------------------------------------------------------------------------------------------

# own_file_system hides the machine's /run, /etc and /dev behind private copies.
own_file_system() {
    mount -t tmpfs -o mode=755 none /run
    mkdir -p "$work"/{etc,dev,site,tmp,home,keys} /run/sshd /run/netns
    chmod 755 "$work"
    chown www-data "$work/tmp"

    cp -a /etc "$work/etc-of-all"
    mount --bind "$work/etc-of-all" /etc

    # sshd and rsyslog meet at /dev/log, which must not be the machine's.
    mount -t tmpfs -o mode=755 none "$work/dev"
    local node
    for node in null zero full random urandom tty ptmx; do
        : >"$work/dev/$node"
        mount --bind "/dev/$node" "$work/dev/$node"
    done
    mkdir "$work/dev/pts"
    mount --rbind /dev/pts "$work/dev/pts"
    ln -s /proc/self/fd "$work/dev/fd"
    mount --rbind "$work/dev" /dev

    cp "$here"/record/{nginx,modsecurity,rsyslog}.conf "$here/record/sshd_config" "$work/etc/"
}

# host NAME MAC ADDRESS... makes a machine: a network namespace with one interface on the one wire. There is no router;
# everybody is "on link", which lets a few namespaces carry many source addresses. The MAC is fixed because ModSecurity
# derives its server_id from it.
host() {
    local name=$1 mac=$2 address
    shift 2
    ip netns add "$name"
    ip link add "to-$name" netns wire type veth peer name eth0 netns "$name" address "$mac"
    ip -n wire link set "to-$name" master br0 up
    ip -n "$name" link set lo up
    ip -n "$name" link set eth0 up
    for address; do
        case $address in
        *:*) ip -n "$name" -6 address add "$address/128" dev eth0 nodad ;;
        *) ip -n "$name" address add "$address/32" dev eth0 ;;
        esac
    done
    ip -n "$name" route add default dev eth0
    ip -n "$name" -6 route add default dev eth0
}

network() {
    ip netns add wire
    ip -n wire link add br0 type bridge
    ip -n wire link set br0 up
    host web 02:00:00:00:00:10 "${web_addresses[@]}"
    host bastion 02:00:00:00:00:22 "${bastion_addresses[@]}"
    host internet 02:00:00:00:00:01 "${internet_addresses[@]}"
    host office 02:00:00:00:00:02 "${office_addresses[@]}"
}

# on NAME COMMAND... runs a command on one of the machines, under its host name.
on() {
    local name=$1
    shift
    ip netns exec "$name" unshare --uts -- bash -c 'hostname "$1"; shift; exec "$@"' bash "$name" "$@"
}

wait_for() {
    local what=$1 tries
    shift
    for ((tries = 0; tries < 100; tries++)); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    die "$what did not come up within ten seconds"
}

start_web() {
    make_site "$work/site"
    on web /usr/sbin/nginx -p "$work" -c "$work/etc/nginx.conf"
    wait_for nginx test -s "$work/nginx.pid"
}

start_bastion() {
    make_accounts
    ssh-keygen -q -t ed25519 -N '' -C bastion -f "$work/etc/ssh_host_ed25519_key"
    on bastion /usr/sbin/rsyslogd -f "$work/etc/rsyslog.conf" -i "$work/rsyslog.pid"
    wait_for rsyslog test -S /dev/log
    on bastion /usr/sbin/sshd -f "$work/etc/sshd_config"
    wait_for sshd test -s "$work/sshd.pid"
}

stop_servers() {
    local pid
    for pid in "$work"/{nginx,sshd}.pid; do
        kill -TERM "$(<"$pid")"
    done
    wait_for "the last log line" grep -q 'Received signal 15' "$work/auth.log"
    kill -TERM "$(<"$work/rsyslog.pid")"
}

# check refuses a recording that would tell where it was made, or that is not what the examples expect.
check() {
    local file size=0
    for file in "$work"/{modsec_audit.json,auth.log}; do
        [[ -s $file ]] || die "$file is empty"
        size=$((size + $(stat -c %s "$file")))
        if grep -aqFe "$here" -e "$work" "$file"; then die "$file names a folder of this machine"; fi
    done
    if grep -avqE '^[0-9T:.-]+\+00:00 bastion ' "$work/auth.log"; then die "auth.log has a line of another form"; fi
    ((size >= 2000000 && size <= 5000000)) || die "the recording has $size bytes, wanted 2 to 5 MB"
}

inside() {
    trap 'exit 130' INT TERM # the first process of a PID namespace has no default for these
    export TZ=UTC LC_ALL=C.UTF-8 # ModSecurity writes local time without a zone
    source "$here/record/traffic.sh"
    own_file_system
    network
    start_web
    start_bastion
    traffic
    stop_servers
    check
    install -d -m 755 "$1"
    install -m 644 "$work"/{modsec_audit.json,auth.log} "$1/"
    say "written to $1: $(wc -l <"$work/modsec_audit.json") requests, $(wc -l <"$work/auth.log") lines of auth.log"
}

case ${1-} in
--inside)
    [[ $$ -eq 1 ]] || die "--inside is for the script itself"
    inside "$2"
    ;;
-*) die "unknown option $1" ;;
*)
    require
    exec timeout --foreground --signal=KILL "$limit" unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private -- \
        bash -- "${BASH_SOURCE[0]}" --inside "${1:-$here/recording}"
    ;;
esac
