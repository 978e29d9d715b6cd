import MartletCore
package import NIOCore

/// What was filled in at an invitation's page. Pure.
package struct InvitationForm: Hashable, Sendable {
    package let name: String
    package let password: String
    package let again: String

    /// Reads `application/x-www-form-urlencoded`.
    package init?(_ body: ByteBuffer) {
        var fields: [String: String] = [:]
        for pair in body.readableBytesView.split(separator: UInt8(ascii: "&")) {
            let halves = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard halves.count == 2, let name = Self.decoded(halves[0]), let value = Self.decoded(halves[1]), fields[name] == nil else { return nil }
            fields[name] = value
        }
        guard let name = fields["username"], let password = fields["password"], let again = fields["again"] else { return nil }
        (self.name, self.password, self.again) = (name, password, again)
    }

    /// A plus is a space; everything else is percent-encoding.
    private static func decoded(_ bytes: ByteBufferView) -> String? {
        let bytes = PercentEncoding.decoded(bytes.lazy.map { $0 == UInt8(ascii: "+") ? 0x20 : $0 })
        return bytes.flatMap { String(validating: $0, as: UTF8.self) }
    }
}
