package import MartletXMPP

/// What DNS says about the certificate of a host (RFC 6698): for whom it counts, and for operators.
package struct CertificateRecords: Hashable, Sendable {
    /// Where the records are, such as `_5269._tcp.xmpp.verona.example`.
    package let name: DNSName
    package let answer: DNSAnswer
    /// What they say, if they are secure and mean something; otherwise they are as if they were not there.
    package let dane: DANE?

    package init(_ name: DNSName, _ answer: DNSAnswer, of host: DNSName, port: UInt16, for domain: BareJID) {
        self.name = name
        self.answer = answer
        dane = answer.isSecure ? DANE(answer.tlsa, of: host, port: port, for: domain) : nil
    }

    /// Whether it is proved that there are some, of whatever kind.
    var areThere: Bool { answer.isSecure && !answer.tlsa.isEmpty }

    /// Bytes of what a record says that are quoted: a SHA-256 whole, of a certificate its beginning.
    private static let bytesQuotedMax = 32

    /// The records as an operator would write them.
    package var words: (DiagnosisStep.Verdict, String) {
        let security = answer.isSecure ? "secure" : "not secured by DNSSEC"
        guard !answer.tlsa.isEmpty else { return (.neutral, "\(name): none (\(security))") }
        let records = answer.tlsa.prefix(DANE.recordsMax).map { "\($0.usage) \($0.selector) \($0.matchingType) \(Self.quoted($0.association))" }
        let use = answer.isSecure && dane == nil ? ", but none of a known kind" : ""
        return (dane == nil ? .neutral : .good, "\(name): \(records.joined(separator: ", ")) (\(security)\(use))")
    }

    private static func quoted(_ bytes: [UInt8]) -> String { hexadecimal(bytes.prefix(bytesQuotedMax)) + (bytes.count > bytesQuotedMax ? "…" : "") }

    static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
