public import MartletXML

extension Namespace {
    /// XEP-0480.
    public static let saslUpgrade: Namespace = "urn:xmpp:sasl:upgrade:0"
    public static let scramUpgrade: Namespace = "urn:xmpp:scram-upgrade:0"
}

/// Keys of a hash that an account lacks, to be made of a SaltedPassword that its client computes (XEP-0480 §3).
public struct ScramUpgrade: Hashable, Sendable {
    public let hash: ScramHash
    public let salt: [UInt8]
    public let iterations: Int

    public init(hash: ScramHash, salt: [UInt8], iterations: Int) {
        self.hash = hash
        self.salt = salt
        self.iterations = iterations
    }

    /// The keys of what a client answers, inside `<task-data/>`. That it has computed what it was asked for nobody can check.
    func keys(from element: FlatElement) throws(SASLFailure) -> ScramKeys {
        guard let text = element.firstChild("hash", .scramUpgrade)?.text else { throw .malformedRequest("There is no <hash/>.") }
        let saltedPassword = try SASLPayload.decodePresent(text.utf8)
        guard saltedPassword.count == hash.byteCount else { throw .malformedRequest("The hash has \(hash.byteCount) bytes.") }
        do throws(ScramKeysError) {
            return try ScramKeys(hash: hash, salt: salt, iterations: iterations, saltedPassword: saltedPassword)
        } catch {
            throw .temporaryAuthFailure
        }
    }

    /// Writes what the client needs for it, inside `<task-data/>`.
    func write(to writer: inout XMLWriter) {
        writer.element("task-data", .sasl2) { writer in
            writer.element("salt", .scramUpgrade, ["iterations": String(iterations)], text: Base64.encode(salt))
        }
    }
}

extension ScramHash {
    /// The name of the task by which a client makes up keys of this hash (XEP-0480 §2.1).
    var upgradeTask: String { "UPGR-" + mechanismName }

    /// The tasks that a client is ready for (XEP-0480 §2.2), of those that are offered; others are passed over.
    ///
    /// - Parameter authenticate: the element, with whatever else it has.
    static func upgrades(in authenticate: FlatElement, of offered: [ScramHash]) -> [ScramHash] {
        guard !offered.isEmpty else { return [] }
        let names = authenticate.children.lazy.filter { $0.isNamed("upgrade", .saslUpgrade) }.map(\.text)
        return offered.filter { hash in names.contains(hash.upgradeTask) }
    }

    /// Writes the tasks among the features of XEP-0388 (XEP-0480 §2.1).
    static func writeUpgrades(_ hashes: [ScramHash], to writer: inout XMLWriter) {
        for hash in hashes { writer.element("upgrade", .saslUpgrade, text: hash.upgradeTask) }
    }

    /// Writes `<continue/>` with the task (XEP-0388 §2.6.3).
    func writeContinue(_ additionalData: [UInt8]?, to writer: inout XMLWriter) {
        writer.element("continue", .sasl2) { writer in
            if let additionalData { writer.element("additional-data", .sasl2, text: Base64.encode(additionalData)) }
            writer.element("tasks", .sasl2) { $0.element("task", .sasl2, text: upgradeTask) }
        }
    }
}
