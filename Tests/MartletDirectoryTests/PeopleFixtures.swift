import MartletCore
import MartletDirectory
import MartletLDAP
import MartletXMPP
import NIOCore
import Synchronization

func jid(_ localpart: String) -> BareJID { try! BareJID(localpart: localpart, domainpart: "example.org") }

func person(_ name: String, _ others: [LDAPAttribute] = [], address: String? = nil) -> LDAPEntry {
    LDAPEntry("uid=\(name),ou=people", [LDAPAttribute("uid", name), LDAPAttribute("xmppAddress", address ?? "\(name)@example.org")] + others)
}

func mirroredPeople(
    _ addresses: String = "xmppAddress | mail | uid@%d", lockMilliseconds: Int64? = nil, brake: SafetyBrake = SafetyBrake(),
    isEnabled: (@Sendable (EntryReader) -> Bool)? = nil
) -> MirroredPeople {
    let rule = try! AddressRule(parsing: addresses)
    let domain = try! BareJID(parsing: "example.org")
    let mapping = PersonMapping(domain: domain, addresses: rule, lockMilliseconds: lockMilliseconds, isEnabled: isEnabled)
    let attributes = PersonAttributes.mirrored(others: rule.attributes + mapping.loginAttributes + ["xmppEnabled"])
    let marking = CredentialMarking(secret: Array(repeating: 5, count: 32))
    return MirroredPeople(DirectoryMirror(attributes, prepare: plainNames), People(mapping, attributes, marking), brake: brake)
}

extension MirroredPeople {
    /// A refresh from the beginning that finds these and nobody else.
    mutating func refresh(_ entries: [Int: LDAPEntry], now: Int64 = 0) -> [DirectoryNotice] {
        var notices = take(.search(.contentSync(cookie: nil)), now: now)
        for (number, entry) in entries { notices += take(.change(.entry(.number(number), entry)), now: now) }
        return notices + take(.refreshed(RefreshEnd(there: Set(entries.keys.map { .number($0) }))), now: now) + take(.keepCookie([1]), now: now)
    }

    mutating func persist(_ number: Int, _ entry: LDAPEntry?) -> [PersonChange] {
        take(.change(entry.map { .entry(.number(number), $0) } ?? .gone(.number(number))), now: 0).compactMap {
            if case .person(let change) = $0 { change } else { nil }
        }
    }
}

/// A clock that stands still. A lock, because whoever asks for the time may be anywhere.
final class StoppedClock: TimeSource {
    private let now: Mutex<Int64>
    init(_ milliseconds: Int64) { now = Mutex(milliseconds) }

    var monotonic: NIODeadline { .uptimeNanoseconds(UInt64(max(0, wallMilliseconds)) * 1_000_000) }
    var wallMilliseconds: Int64 { now.withLock { $0 } }
    func advance(milliseconds: Int64) { now.withLock { $0 += milliseconds } }
}

extension DirectorySnapshot {
    /// As the next start finds it where there is no key to seal it with.
    func afterStart() throws -> DirectorySnapshot {
        var bytes: [UInt8] = []
        try SnapshotForm().write(self, fileNumber: Array(repeating: 9, count: 16)) { bytes += $0 }
        var rest = bytes[...]
        return try SnapshotForm().read { count throws(SnapshotError) in
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
    }
}
