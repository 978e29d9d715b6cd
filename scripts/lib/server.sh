# A server of a script's own: on loopback ports that nobody else has, in a folder of the script. To be sourced, not run:
#
#   . scripts/lib/server.sh
#   server_new DIR DOMAIN              ports and configuration; starts nothing
#   server_add_account JID PASSWORD    works whether or not the server runs; also server_delete_account JID
#   server_start                       returns when the server accepts clients; also server_stop, server_restart, server_kill9
#   trap server_cleanup EXIT           leaves no process behind, whatever happened (the folder is the script's to remove)
#
# SERVER=martlet (default) runs the binary of this project (MARTLET or MARTLET_BINARY names it; default: the release build,
# else the debug build). SERVER=prosody runs Debian's Prosody with the same ports: a script that fails with martlet and passes there
# has found something, one that fails with both is broken.
#
# Martlet's configuration is minimal; `export MARTLET_LIMITS_OFFLINE_MESSAGES=…` before server_start changes a value.
# SERVER_PORTS="5222 5223 5280 5281 5443 3478 5000" takes these ports instead of free ones (STARTTLS, direct TLS, plain, metrics, HTTPS, where
# clients are told that there is a TURN server, which a script starts if it wants one: scripts/lib/calls.sh, and the proxy of XEP-0065).
# `server_components="echo irc"` before server_new makes components echo.DOMAIN and irc.DOMAIN (XEP-0114, Martlet only), whose secrets are
# "NAME's secret", on $server_component_port; `server_component_echo="…"` has further lines of the configuration of one.
# What scripts may read: $server_kind, $server_domain, $server_address, $server_port (STARTTLS), $server_tls_port (direct
# TLS), $server_plain_port (log-in without encryption allowed), $server_web_port (HTTPS, Martlet only), $server_certificate (PEM, what clients are to trust),
# $server_folder, $server_configuration, $server_log, $server_pid, $server_version and the array $server_command, which
# runs the server in the foreground.

server_kind=${SERVER:-martlet}
server_address=127.0.0.1
server_pid=
server_start_limit=${SERVER_START_LIMIT:-20} # seconds

server_repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$server_repository/scripts/lib/calls.sh"

# The server takes every variable that begins with MARTLET_ for its configuration: it must not see this one.
export MARTLET=${MARTLET:-${MARTLET_BINARY:-}}
unset MARTLET_BINARY

server_binary() {
    local build
    if [ -n "$MARTLET" ]; then echo "$MARTLET"; return; fi
    for build in release debug; do
        if [ -x "$server_repository/.build/$build/martlet" ]; then echo "$server_repository/.build/$build/martlet"; return; fi
    done
    echo "There is no martlet to test. Build it (swift build -c release --product martlet) or name it: MARTLET=FILE" >&2
    return 69
}

# Ports are asked of the system all at once, so that they differ.
server_free_ports() {
    /usr/bin/env python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for each in sockets:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in sockets))
PYTHON
}

# A certificate such as Martlet makes for a domain that has none.
server_make_certificate() { # DOMAIN CERTIFICATE KEY
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj "/CN=$1" \
        -addext "subjectAltName=DNS:$1" -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
        -keyout "$3" -out "$2" 2>/dev/null
    chmod 600 "$3"
}

server_new() { # DIR DOMAIN
    server_folder=$1 server_domain=$2
    mkdir -p "$server_folder"
    chmod 700 "$server_folder"
    server_log=$server_folder/server.log
    read -r server_port server_tls_port server_plain_port server_status_port server_web_port server_turn_port server_proxy_port \
        <<<"${SERVER_PORTS:-$(server_free_ports 7)}"
    [ -z "${server_components:-}" ] || server_component_port=$(server_free_ports 1)
    "server_new_$server_kind"
}

server_new_martlet() {
    server_martlet=$(server_binary) || return
    server_version=$("$server_martlet" --version)
    server_configuration=$server_folder/martlet.yaml
    cat > "$server_configuration" <<CONFIGURATION
server:
  data: $server_folder/data
  run-as-root: $([ "$(id -u)" = 0 ] && echo true || echo false)
domains:
  - name: $server_domain
    people-page: organisation
    contacts:
      abuse: ["mailto:abuse@$server_domain"]
listeners:
  - kind: client
    port: $server_port
    addresses: [$server_address]
  - kind: client-tls
    port: $server_tls_port
    addresses: [$server_address]
  - kind: client
    port: $server_plain_port
    addresses: [$server_address]
    plaintext-authentication: true
  - kind: https
    port: $server_web_port
    addresses: [$server_address]
metrics:
  address: $server_address
  port: $server_status_port
bytestreams:
  enabled: true
  host: $server_address
  port: ${server_proxy_port:-5000}
  addresses: [$server_address]
external-services:
  - type: turn
    address: $server_address:${server_turn_port:-3478}
    transport: udp
    secret-file: $server_folder/turn.secret
CONFIGURATION
    turn_secret "$server_folder/turn.secret"
    [ -z "${server_components:-}" ] || server_configure_components
    mkdir -p "$server_folder/data"
    chmod 700 "$server_folder/data"
    server_certificate=$server_folder/data/certificates/$server_domain.pem # made by the server at its first start
    server_command=("$server_martlet" serve --config "$server_configuration")
}

server_configure_components() {
    local name more
    sed -i "s/^metrics:/  - kind: component\n    port: $server_component_port\n    addresses: [$server_address]\nmetrics:/" "$server_configuration"
    echo "components:" >> "$server_configuration"
    for name in $server_components; do
        (umask 077; echo "$name's secret" > "$server_folder/$name.secret")
        printf -- '- name: %s\n  secret-file: %s\n' "$name.$server_domain" "$server_folder/$name.secret" >> "$server_configuration"
        more=server_component_$name
        [ -z "${!more:-}" ] || printf '%s\n' "${!more}" >> "$server_configuration"
    done
}

server_new_prosody() {
    if ! command -v prosodyctl >/dev/null; then echo "Prosody is missing: scripts/install-packages test" >&2; return 69; fi
    server_version="Prosody $(dpkg-query -W -f '${Version}' prosody)"
    server_configuration=$server_folder/prosody.cfg.lua
    server_certificate=$server_folder/certificate.pem
    server_make_certificate "$server_domain" "$server_certificate" "$server_folder/key.pem"
    mkdir -p "$server_folder/data"
    cat > "$server_configuration" <<CONFIGURATION
run_as_root = true
pidfile = "$server_folder/prosody.pid"
data_path = "$server_folder/data"
admin_socket = "$server_folder/prosody.sock"
log = { warn = "*console" }
interfaces = { "$server_address" }
c2s_ports = { $server_port, $server_plain_port }
c2s_direct_tls_ports = { $server_tls_port }
s2s_ports = { }
http_ports = { }
https_ports = { }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
limits = { }
modules_enabled = {
    "roster", "saslauth", "tls", "disco", "blocklist", "carbons", "private", "vcard", "ping", "time", "version",
    "lastactivity", "uptime", "offline", "server_contact_info", "admin_shell", "posix",
}
modules_disabled = { "s2s" }
contact_info = { abuse = { "mailto:abuse@$server_domain" } }
authentication = "internal_hashed"
storage = "internal"
ssl = { certificate = "$server_certificate", key = "$server_folder/key.pem" }
c2s_direct_tls_ssl = ssl
VirtualHost "$server_domain"
Component "conference.$server_domain" "muc"
    modules_enabled = { "muc_mam" }
CONFIGURATION
    server_command=(prosody --config "$server_configuration" -F)
}

server_accepts() { (exec 3<>"/dev/tcp/$server_address/$1") 2>/dev/null; }

# The server has no other way to tell a script that it is ready than to accept connections.
server_wait() {
    local deadline=$((SECONDS + server_start_limit)) port
    for port in "$server_port" "$server_tls_port" "$server_plain_port"; do
        until server_accepts "$port"; do
            if ! kill -0 "$server_pid" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
                echo "the server does not accept clients on port $port; it said:" >&2
                tail -n 30 "$server_log" >&2
                return 1
            fi
            sleep 0.02
        done
    done
}

server_start() {
    "${server_command[@]}" >>"$server_log" 2>&1 </dev/null &
    server_pid=$!
    server_wait
}

server_stop() {
    [ -n "$server_pid" ] || return 0
    kill "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
    server_pid=
}

server_restart() { server_stop; server_start; }

server_kill9() {
    [ -n "$server_pid" ] || return 0
    kill -9 "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
    server_pid=
}

# SIGTERM first, so that a server that stops badly is found; after ten seconds SIGKILL.
server_cleanup() {
    [ -n "$server_pid" ] || return 0
    kill "$server_pid" 2>/dev/null || { server_pid=; return 0; }
    local deadline=$((SECONDS + 10))
    while kill -0 "$server_pid" 2>/dev/null; do
        if [ $SECONDS -ge $deadline ]; then echo "the server does not stop: killed" >&2; kill -9 "$server_pid" 2>/dev/null || true; break; fi
        sleep 0.05
    done
    wait "$server_pid" 2>/dev/null || true
    server_pid=
}

server_add_account() { # JID PASSWORD
    case $server_kind in
        martlet) printf '%s\n' "$2" | "$server_martlet" account add --config "$server_configuration" "$1" >>"$server_log" 2>&1 ;;
        prosody) prosodyctl --config "$server_configuration" register "${1%@*}" "${1#*@}" "$2" >>"$server_log" 2>&1 ;;
    esac || { echo "cannot add the account $1:" >&2; tail -n 3 "$server_log" >&2; return 1; }
}

# Has to end the sessions of the account, so with Prosody it goes through its shell.
server_delete_account() { # JID
    case $server_kind in
        martlet) "$server_martlet" account delete --yes --config "$server_configuration" "$1" >>"$server_log" 2>&1 ;;
        prosody) prosodyctl --config "$server_configuration" shell user delete "$1" >>"$server_log" 2>&1 ;;
    esac
}
