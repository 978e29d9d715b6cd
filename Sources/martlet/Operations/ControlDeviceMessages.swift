import MartletCore
package import MartletFeatures

/// What commands ask about the devices of accounts (XEP-0494).
package enum DeviceOrder: Codable, Hashable, Sendable {
    case list(of: String)
    case revoke(of: String, id: String)
    /// Calls it something; without a name, what it says itself.
    case name(of: String, id: String, String?)
}

/// By what a device can come back whose tokens and sessions have ended.
package enum DeviceRemainder: String, Codable, Hashable, Sendable {
    case password, certificate, grant

    /// What remains to be done.
    package func advice(for address: String) -> String {
        switch self {
        case .password: "it has been given the password; 'martlet account password \(address)' sets a new one"
        case .certificate: "it logs in with a certificate, which has to be revoked, or taken from the account ('martlet account certificates \(address)')"
        case .grant: "an authorization server gives it tokens; its access has to be taken away there"
        }
    }
}

/// A device of an account.
package struct DeviceLine: Codable, Hashable, Sendable {
    package var id: String
    package var software: String?
    package var device: String?
    /// What an operator calls it.
    package var label: String?
    package var isConnected: Bool
    package var knowsPassword: Bool
    package var hasToken: Bool
    package var hasCertificate: Bool
    /// Whether it comes in by tokens of an authorization server.
    package var hasGrant: Bool
    /// The passwords for applications that would end with its access.
    package var applicationPasswords: [String]
    /// Milliseconds since 1970; absent if nothing is remembered of it.
    package var firstSeen: Int64?
    package var lastSeen: Int64?

    package init(_ client: AccessingClient) {
        id = client.id.text
        software = client.device?.software
        device = client.device?.name
        label = client.device?.label
        isConnected = client.isConnected
        knowsPassword = client.knowsPassword
        hasToken = client.hasToken
        hasCertificate = client.hasCertificate
        hasGrant = client.hasGrant
        applicationPasswords = client.applicationPasswords
        firstSeen = client.device?.firstSeen
        lastSeen = client.device?.lastSeen
    }

    /// As `martlet device list` prints it.
    package var text: String {
        let names = [label, device, software].compactMap { $0.map { ConfigurationProblem.printable($0) } }
        let proofs = [
            knowsPassword ? "password" : nil, hasToken ? "token" : nil, hasCertificate ? "certificate" : nil, hasGrant ? "authorization server" : nil,
        ].compactMap(\.self) + applicationPasswords.map { "application password \(ConfigurationProblem.printable($0))" }
        let state = isConnected ? "connected" : lastSeen.map { "last seen \(Timestamp.text($0))" } ?? "not connected"
        return "\(id)  \(state)  by \(proofs.isEmpty ? "nothing" : proofs.joined(separator: ", "))  \(names.isEmpty ? "(unnamed)" : names.joined(separator: ", "))"
    }
}
