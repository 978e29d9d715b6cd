# coturn as the STUN and TURN server of calls (XEP-0215). To be sourced:
#
#   turn_secret FILE                                     makes the secret that it shares with Martlet, if there is none
#   turn_configuration FOLDER REALM SECRET-FILE PORT [ADDRESS]
#                                                        prints its configuration; what it writes goes to FOLDER
#
# Whoever has credentials made with the secret may relay to public addresses, and to no others: the networks behind the server are none of
# theirs. With ADDRESS it listens and relays there only, and to that machine as well, to try calls on one machine.

turn_secret() {
    [ -s "$1" ] || (umask 077; od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$1")
}

turn_configuration() {
    local folder=$1 realm=$2 secret=$3 port=$4 address=${5:-} range
    cat <<CONFIGURATION
listening-port=$port
realm=$realm
use-auth-secret
static-auth-secret=$(cat "$secret")
fingerprint
stale-nonce=600
user-quota=16
total-quota=1600
no-cli
no-tls
no-dtls
no-tcp-relay
no-multicast-peers
userdb=$folder/turn.db
pidfile=$folder/turn.pid
log-file=$folder/turn.log
simple-log
CONFIGURATION
    if [ -n "$address" ]; then
        printf 'listening-ip=%s\nrelay-ip=%s\nallow-loopback-peers\n' "$address" "$address"
        return
    fi
    for range in 0.0.0.0-0.255.255.255 10.0.0.0-10.255.255.255 100.64.0.0-100.127.255.255 127.0.0.0-127.255.255.255 169.254.0.0-169.254.255.255 \
        172.16.0.0-172.31.255.255 192.0.0.0-192.0.0.255 192.168.0.0-192.168.255.255 198.18.0.0-198.19.255.255 240.0.0.0-255.255.255.255 \
        ::1-::1 64:ff9b::-64:ff9b::ffff:ffff fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff; do
        echo "denied-peer-ip=$range"
    done
}
