import Testing

import martlet

/// The last values that a key takes on each side, and the first that it refuses.
struct KeyRange: Sendable, CustomTestStringConvertible {
    let path: String
    let accepted: [String]
    let refused: [String]

    init(_ path: String, _ accepted: [String], not refused: [String]) {
        self.path = path
        self.accepted = accepted
        self.refused = refused
    }

    var testDescription: String { path }

    var variable: String {
        "MARTLET_" + path.uppercased().replacing("[0].", with: "_0_").replacing(".", with: "_").replacing("-", with: "_")
    }
}

@Suite("every key has its range")
struct ConfigurationRangeTests {
    static let ranges = [
        KeyRange("server.event-loops", ["0", "256"], not: ["-1", "257"]),
        KeyRange("server.stop-timeout", ["1s", "5m"], not: ["999ms", "301s"]),
        KeyRange("configuration-directory.connect-timeout", ["100ms", "60s"], not: ["99ms", "61s"]),
        KeyRange("configuration-directory.operation-timeout", ["100ms", "60s"], not: ["99ms", "61s"]),
        KeyRange("listeners[0].port", ["1", "65535"], not: ["0", "65536"]),
        KeyRange("limits.stanza-bytes", ["10000B", "16MiB"], not: ["9999B", "16777217B"]),
        KeyRange("limits.stanza-bytes-before-authentication", ["10000B", "256KiB"], not: ["9999B", "257KiB"]),
        KeyRange("limits.stanza-depth", ["8", "128"], not: ["7", "129"]),
        KeyRange("limits.stanza-elements", ["64", "100000"], not: ["63", "100001"]),
        KeyRange("limits.element-attributes", ["16", "1024"], not: ["15", "1025"]),
        KeyRange("limits.stanza-bytes-per-second", ["1000B", "1GiB", "off"], not: ["999B", "1025MiB", "none"]),
        KeyRange("limits.stanza-bytes-burst", ["10000B", "1GiB"], not: ["9999B", "1025MiB", "off"]),
        KeyRange("limits.streams-per-address", ["1", "1000000"], not: ["0", "1000001"]),
        KeyRange("limits.unauthenticated-streams", ["1", "1000000"], not: ["0", "1000001"]),
        KeyRange("limits.unauthenticated-bytes", ["4MiB", "64GiB"], not: ["4095KiB", "65GiB"]),
        KeyRange("limits.login-deadline", ["5s", "10m"], not: ["4999ms", "601s"]),
        KeyRange("limits.sessions-per-account", ["1", "64"], not: ["0", "65"]),
        KeyRange("limits.session-queue-bytes", ["256KiB", "1GiB"], not: ["255KiB", "1025MiB"]),
        KeyRange("limits.resumption-timeout", ["0s", "1d"], not: ["-1s", "25h"]),
        KeyRange("limits.unacknowledged-stanzas", ["100", "1000000"], not: ["99", "1000001"]),
        KeyRange("limits.unacknowledged-bytes", ["64KiB", "1GiB"], not: ["63KiB", "1025MiB"]),
        KeyRange("limits.held-stanzas", ["0", "100000"], not: ["-1", "100001"]),
        KeyRange("limits.held-bytes", ["16KiB", "16MiB"], not: ["15KiB", "17MiB"]),
        KeyRange("limits.parked-stanzas", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("limits.parked-bytes", ["64KiB", "1GiB"], not: ["63KiB", "1025MiB"]),
        KeyRange("limits.roster-items", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("limits.shared-roster-items", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("limits.offline-messages", ["0", "1000000"], not: ["-1", "1000001"]),
        KeyRange("limits.offline-bytes", ["0B", "4GiB"], not: ["-1B", "4097MiB"]),
        KeyRange("limits.blocked-addresses", ["0", "100000"], not: ["-1", "100001"]),
        KeyRange("limits.vcard-bytes", ["0B", "16MiB"], not: ["-1B", "17MiB"]),
        KeyRange("limits.private-storage-bytes", ["0B", "64MiB"], not: ["-1B", "65MiB"]),
        KeyRange("limits.push-registrations", ["1", "100"], not: ["0", "101"]),
        KeyRange("idle.ping-after", ["10s", "1d", "off"], not: ["9s", "25h", "false"]),
        KeyRange("idle.ping-timeout", ["1s", "10m"], not: ["0s", "11m", "off"]),
        KeyRange("idle.tcp-user-timeout", ["5s", "1h", "off"], not: ["4s", "61m"]),
        KeyRange("authentication.scram-iterations", ["4096", "100000"], not: ["4095", "100001"]),
        KeyRange("authentication.tries-per-stream", ["1", "20"], not: ["0", "21"]),
        KeyRange("authentication.failures-per-address", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("authentication.failure-recovery-per-address", ["100ms", "1h"], not: ["99ms", "61m"]),
        KeyRange("authentication.failures-per-account", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("authentication.failure-recovery-per-account", ["100ms", "1h"], not: ["99ms", "61m"]),
        KeyRange("authentication.password-hashes", ["1", "64"], not: ["0", "65"]),
        KeyRange("authentication.password-hash-queue", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("storage.reserve", ["1MiB", "1GiB", "off"], not: ["1023KiB", "1025MiB"]),
        KeyRange("storage.free-space-warning", ["1MiB", "1024GiB", "off"], not: ["1023KiB", "1025GiB"]),
        KeyRange("archive.messages-max", ["1", "1000000000"], not: ["0", "1000000001"]),
        KeyRange("archive.bytes-max", ["1MiB", "1024GiB"], not: ["1023KiB", "1025GiB"]),
        KeyRange("devices.token-lifetime", ["0s", "1s", "21d", "365d"], not: ["-1s", "366d", "off"]),
        KeyRange("devices.retention", ["0s", "90d", "3650d"], not: ["-1s", "3651d", "off"]),
        KeyRange("archive.retention", ["0s", "1d", "36500d"], not: ["-1s", "36501d", "off"]),
        KeyRange("federation.connect-timeout", ["5s", "10m"], not: ["4999ms", "601s"]),
        KeyRange("federation.negotiation-deadline", ["5s", "10m"], not: ["4999ms", "601s"]),
        KeyRange("federation.idle-timeout", ["30s", "1d"], not: ["29s", "25h"]),
        KeyRange("federation.retry-for", ["0 s", "30 d"], not: ["-1 s", "721 h"]),
        KeyRange("federation.stored-messages", ["10", "1000000"], not: ["9", "1000001"]),
        KeyRange("federation.stored-bytes", ["64 KiB", "64 GiB"], not: ["65535", "65 GiB"]),
        KeyRange("federation.queue-stanzas", ["10", "1000000"], not: ["9", "1000001"]),
        KeyRange("federation.queue-bytes", ["64KiB", "1GiB"], not: ["63KiB", "1025MiB"]),
        KeyRange("federation.queue-bytes-total", ["1MiB", "64GiB"], not: ["1023KiB", "65GiB"]),
        KeyRange("federation.calls", ["1", "10000"], not: ["0", "10001"]),
        KeyRange("federation.streams-per-address", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("federation.unauthenticated-streams", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("rooms.occupants-max", ["2", "100000"], not: ["1", "100001"]),
        KeyRange("rooms.affiliations-max", ["10", "1000000"], not: ["9", "1000001"]),
        KeyRange("rooms.history-max", ["0", "1000"], not: ["-1", "1001"]),
        KeyRange("rooms.history-bytes", ["16KiB", "64MiB"], not: ["15KiB", "65MiB"]),
        KeyRange("rooms.per-account-max", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("rooms.ping-after", ["0s", "24h"], not: ["-1s", "25h"]),
        KeyRange("rooms.standard.occupants", ["2", "100000"], not: ["1", "100001"]),
        KeyRange("rooms.standard.history", ["0", "1000"], not: ["-1", "1001"]),
        KeyRange("external-services[0].lifetime", ["60s", "168h"], not: ["59s", "169h"]),
        KeyRange("accounts.requests-per-network", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("accounts.requests", ["1", "1000000"], not: ["0", "1000001"]),
        KeyRange("accounts.password-length", ["1", "128"], not: ["0", "129"]),
        KeyRange("accounts.password-lifetime", ["0s", "3650d"], not: ["3651d", "-1s"]),
        KeyRange("accounts.password-warning", ["0s", "365d"], not: ["366d", "-1s"]),
        KeyRange("accounts.invitations.lifetime", ["1h", "365d"], not: ["3599s", "366d"]),
        KeyRange("accounts.invitations.per-account", ["1", "10000"], not: ["0", "10001"]),
        KeyRange("pubsub.account-nodes", ["10", "100000"], not: ["9", "100001"]),
        KeyRange("pubsub.account-items", ["10", "100000"], not: ["9", "100001"]),
        KeyRange("pubsub.account-bytes", ["1MiB", "1GiB"], not: ["1023KiB", "1025MiB"]),
        KeyRange("pubsub.item-bytes", ["1KiB", "8MiB"], not: ["1023", "9MiB"]),
        KeyRange("pubsub.service.nodes", ["10", "1000000"], not: ["9", "1000001"]),
        KeyRange("pubsub.service.items", ["10", "1000000"], not: ["9", "1000001"]),
        KeyRange("pubsub.service.bytes", ["1MiB", "1024GiB"], not: ["1023KiB", "1025GiB"]),
        KeyRange("domains[0].data-policy.backup-interval", ["0s", "366d"], not: ["-1s", "367d"]),
        KeyRange("domains[0].data-policy.backup-retention", ["0s", "3660d"], not: ["-1s", "3661d"]),
        KeyRange("bytestreams.port", ["1", "65535"], not: ["0", "65536"]),
        KeyRange("bytestreams.streams-per-account", ["1", "1000"], not: ["0", "1001"]),
        KeyRange("bytestreams.streams", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("uploads.file-bytes", ["1KiB", "1GiB"], not: ["1023B", "65GiB"]),
        KeyRange("uploads.s3.timeout", ["1s", "25s"], not: ["999ms", "26s"]),
        KeyRange("uploads.account-bytes", ["100MiB", "1024GiB"], not: ["1023KiB", "1025GiB"]),
        KeyRange("uploads.account-files", ["10", "1000000"], not: ["9", "1000001"]),
        KeyRange("uploads.account-bytes-per-day", ["100MiB", "1024GiB"], not: ["1023KiB", "1025GiB"]),
        KeyRange("uploads.domain-bytes", ["1MiB", "1048576GiB"], not: ["1023KiB", "1048577GiB"]),
        KeyRange("uploads.domain-bytes-per-day", ["1MiB", "1048576GiB"], not: ["1023KiB", "1048577GiB"]),
        KeyRange("uploads.slot-lifetime", ["10s", "1h"], not: ["9s", "61m"]),
        KeyRange("uploads.account-transfers", ["1", "100"], not: ["0", "101"]),
        KeyRange("uploads.retention.message", ["0s", "36500d"], not: ["-1s", "36501d"]),
        KeyRange("uploads.retention.profile", ["0s", "36500d"], not: ["-1s", "36501d"]),
        KeyRange("uploads.retention.ephemeral", ["0s", "36500d"], not: ["-1s", "36501d"]),
        KeyRange("search.results", ["1", "500"], not: ["0", "501"]),
        KeyRange("search.per-minute", ["1", "10000"], not: ["0", "10001"]),
        KeyRange("uploads.retention.permanent", ["0s", "36500d"], not: ["-1s", "36501d"]),
        KeyRange("storage.readers", ["1", "64"], not: ["0", "65"]),
        KeyRange("directories[0].iterations", ["1", "10000000"], not: ["0", "10000001"]),
        KeyRange("directories[0].connect-timeout", ["100ms", "60s"], not: ["99ms", "61s"]),
        KeyRange("directories[0].operation-timeout", ["100ms", "60s"], not: ["99ms", "61s"]),
        KeyRange("directories[0].stale-after", ["1m", "90d"], not: ["59s", "91d"]),
        KeyRange("directories[0].lock-duration", ["1s", "366d"], not: ["999ms", "367d"]),
        KeyRange("directories[0].keep-gone", ["1h", "3650d"], not: ["59m", "3651d"]),
        KeyRange("directories[0].removals-max", ["1", "100"], not: ["0", "101"]),
        KeyRange("directory-clients.connections", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("directory-clients.connections-per-address", ["1", "100000"], not: ["0", "100001"]),
        KeyRange("directory-clients.operations", ["1", "10000"], not: ["0", "10001"]),
        KeyRange("directory-clients.idle-timeout", ["10s", "1d"], not: ["9s", "25h"]),
        KeyRange("oauth[0].leeway", ["0s", "5m"], not: ["-1s", "301s"]),
        KeyRange("oauth[0].introspection.remember", ["0s", "60s"], not: ["-1s", "61s"]),
        KeyRange("people-page.session-lifetime", ["5m", "30d"], not: ["299s", "721h"]),
        KeyRange("people-page.streams-per-network", ["1", "10000"], not: ["0", "10001"]),
        KeyRange("people-page.streams", ["1", "1000"], not: ["0", "1001"]),
        KeyRange("acme.port", ["1", "65535", "off"], not: ["0", "65536"]),
        KeyRange("metrics.port", ["1", "65535", "off"], not: ["0", "65536"]),
    ]

    @Test("the last value on each side is taken", arguments: ranges)
    func accepted(_ range: KeyRange) {
        for value in range.accepted {
            let found = problems(minimal, environment: [range.variable: value])
            // Values that contradict each other are another matter.
            #expect(!found.contains { $0.message.hasPrefix("expected") }, "\(found)")
        }
    }

    @Test("the first value beyond is refused", arguments: ranges)
    func refused(_ range: KeyRange) {
        for value in range.refused {
            let found = problems(minimal, environment: [range.variable: value])
            #expect(found.contains { $0.path == range.path && $0.message.hasPrefix("expected") }, "\(value)")
        }
    }

    @Test("the name of a node has so many bytes, and no control characters; a service is a domain or an address")
    func blockLists() {
        func isTaken(_ service: String, _ node: String) -> Bool { problems(minimal + "block-lists: [{service: \(service), node: \"\(node)\"}]\n").isEmpty }
        let longest = String(repeating: "a", count: 1_023)
        #expect(isTaken("a.example", longest) && isTaken("a@b.example", "urn:x:y"))
        #expect(!isTaken("a.example", longest + "a") && !isTaken("a.example", "") && !isTaken("a.example", "\\e") && !isTaken("a.example/x", "a"))
    }

    @Test("no key with a range is missing from this table")
    func complete() {
        #expect(Set(Self.ranges.map(\.path)) == Set(Self.paths(ConfigurationSchema.keys, prefix: "")))
    }

    private static func paths(_ keys: [ConfigurationKey], prefix: String) -> [String] {
        keys.flatMap { key -> [String] in
            let path = prefix + key.name
            switch key.form {
            case .value(let type, _): return type.contains(" from ") ? [path] : []
            case .list: return []
            case .section(let inner): return paths(inner, prefix: path + ".")
            case .entries(let inner, _): return paths(inner, prefix: path + "[0].")
            }
        }
    }
}
