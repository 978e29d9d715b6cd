/// A name as DNS has it, in text: labels of letters, digits, hyphens and underscores, in lower case, A-labels for what is not ASCII
/// (RFC 5890 §2.3.2.1), without the root's dot at the end.
///
/// DNS itself would allow any octets (RFC 2181 §11). Names of hosts and of services have no others, and what is not here need not be quoted.
package struct DNSName: Hashable, Sendable, CustomStringConvertible {
    /// Most characters (RFC 1035 §2.3.4, less the length of the first label and the root).
    package static let bytesMax = 253
    package static let labelBytesMax = 63

    package let description: String

    /// `nil` if the text is no such name. A dot at the end means nothing, since names are never completed here.
    package init?(_ text: some StringProtocol) {
        let name = text.last == "." ? text.dropLast() : text[...]
        let labels = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard name.utf8.count <= Self.bytesMax, labels.allSatisfy({ 1...Self.labelBytesMax ~= $0.count && $0.allSatisfy(Self.isAllowed) })
        else { return nil }
        description = name.lowercased()
    }

    /// The name of a service below this one, such as `_xmpp-server._tcp` (RFC 2782); `nil` if that would be too long.
    package func service(_ prefix: String) -> DNSName? { DNSName("\(prefix).\(self)") }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }
}

/// Kinds of records, with their numbers on the wire: RFC 1035 §3.2.2, RFC 3596 §2.1, RFC 2782, RFC 6698 §7.1.
package enum RecordType: UInt16, CaseIterable, Sendable {
    case a = 1
    case aaaa = 28
    case srv = 33
    case tlsa = 52
}

/// What is asked: records of one kind, of class IN.
package struct DNSQuestion: Hashable, Sendable {
    package let name: DNSName
    package let type: RecordType

    package init(_ name: DNSName, _ type: RecordType) {
        self.name = name
        self.type = type
    }
}

/// Where a service is (RFC 2782).
package struct ServiceRecord: Hashable, Sendable {
    /// Lower ones are tried first.
    package let priority: UInt16
    /// Its share among records of the same priority.
    package let weight: UInt16
    package let port: UInt16
    /// `nil`: the root, by which the domain says that it does not have the service.
    package let target: DNSName?

    package init(priority: UInt16, weight: UInt16, port: UInt16, target: DNSName?) {
        self.priority = priority
        self.weight = weight
        self.port = port
        self.target = target
    }
}

/// Which certificate a server has (RFC 6698 §2.1), unchecked: the fields may have values that nobody has given a meaning.
package struct TLSARecord: Hashable, Sendable {
    package let usage: UInt8
    package let selector: UInt8
    package let matchingType: UInt8
    package let association: [UInt8]

    package init(usage: UInt8, selector: UInt8, matchingType: UInt8, association: [UInt8]) {
        self.usage = usage
        self.selector = selector
        self.matchingType = matchingType
        self.association = association
    }
}

package enum DNSRecord: Hashable, Sendable {
    case address(NetworkAddress)
    case service(ServiceRecord)
    case tlsa(TLSARecord)
}

/// What DNS says. That there is nothing is an answer, too.
package struct DNSAnswer: Hashable, Sendable {
    package enum Content: Hashable, Sendable {
        /// Never empty; at the end of aliases (CNAME) if the name has one.
        case records([DNSRecord])
        /// The name exists, and has no record of that kind (RFC 2308 §2.2).
        case noData
        /// The name does not exist, nor does any below it (NXDOMAIN, RFC 8020).
        case noSuchName
    }

    package let content: Content
    /// Where the name leads, if it is an alias (CNAME): what is said is said of that.
    package let canonicalName: DNSName?
    /// For how many more seconds this may be believed.
    package let secondsToLive: Int
    /// Whether signatures from a trust anchor down prove all of it, aliases included, also that there is nothing (RFC 4035 §4.3).
    package let isSecure: Bool

    package init(_ content: Content, canonicalName: DNSName? = nil, secondsToLive: Int = 0, isSecure: Bool = false) {
        self.content = content
        self.canonicalName = canonicalName
        self.secondsToLive = secondsToLive
        self.isSecure = isSecure
    }

    package var records: [DNSRecord] { if case .records(let records) = content { records } else { [] } }
    package var addresses: [NetworkAddress] { records.compactMap { if case .address(let address) = $0 { address } else { nil } } }
    package var services: [ServiceRecord] { records.compactMap { if case .service(let service) = $0 { service } else { nil } } }
    package var tlsa: [TLSARecord] { records.compactMap { if case .tlsa(let record) = $0 { record } else { nil } } }
}

/// Why there is no answer. None of these says anything about the name.
package enum DNSError: Error, Hashable, Sendable, CustomStringConvertible {
    case timedOut
    /// Signatures that ought to be there are missing or wrong (RFC 4035 §4.3): the answer may be forged.
    case bogus(String)
    /// Servers answered that they could not, or would not.
    case failed(String)
    /// What came is no record of the kind that was asked for.
    case malformed
    /// More was being asked than ``ResolverSettings`` allows.
    case overloaded
    case stopped

    package var description: String {
        switch self {
        case .timedOut: "no name server answered in time"
        case .bogus(let why): "DNSSEC validation failed: \(why)"
        case .failed(let why): "the name servers could not answer: \(why)"
        case .malformed: "the answer is malformed"
        case .overloaded: "too many names are being looked up"
        case .stopped: "the resolver has stopped"
        }
    }
}

/// Asks DNS. Tests answer from a table.
package protocol Resolver: Sendable {
    /// Never blocks a thread. What was asked lately is answered from memory, for as long as DNS says.
    func answer(to question: DNSQuestion) async throws(DNSError) -> DNSAnswer
}
