import MartletXMPP

extension ConfigurationLoader {
    /// The files and variables of this machine, with addresses prepared as the protocol does it.
    package static let standard = ConfigurationLoader(
        addresses: AddressRules(
            domain: { text in (try? BareJID(parsing: text)).flatMap { $0.isDomain ? $0.domainpart : nil } },
            bareAddress: { text in (try? BareJID(parsing: text)).flatMap { $0.isDomain ? nil : $0.description } }))
}

extension CommandFailure {
    init(_ failure: ConfigurationFailure) {
        self.init(.configuration, failure.description)
    }
}

extension ServerConfiguration {
    /// The domains, prepared.
    var domainAddresses: [BareJID] { domains.compactMap { try? BareJID(parsing: $0.name) } }

    /// The hashes for which keys of new passwords are made: those of the mechanisms that are offered, and one at least.
    var passwordHashes: [ScramHash] {
        let hashes = authentication.mechanisms.compactMap { ScramHash(mechanismName: $0.rawValue) }
        return hashes.isEmpty ? [.sha256] : hashes
    }
}
