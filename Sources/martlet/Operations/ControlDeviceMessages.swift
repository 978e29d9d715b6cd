import MartletCore
package import MartletFeatures

/// What commands ask about the devices of accounts (XEP-0494).
package enum DeviceOrder: Codable, Hashable, Sendable {
    case list(of: String)
    case revoke(of: String, id: String)
    /// Calls it something; without a name, what it says itself.
    case name(of: String, id: String, String?)
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
    /// By which password for an application it comes in, if by one.
    package var applicationPassword: String?
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
        applicationPassword = client.applicationPassword
        firstSeen = client.device?.firstSeen
        lastSeen = client.device?.lastSeen
    }

    /// As `martlet device list` prints it.
    package var text: String {
        let names = [label, device, software].compactMap { $0.map { ConfigurationProblem.printable($0) } }
        let proofs = [knowsPassword ? "password" : nil, hasToken ? "token" : nil, applicationPassword.map { "application password \(ConfigurationProblem.printable($0))" }]
            .compactMap(\.self)
        let state = isConnected ? "connected" : lastSeen.map { "last seen \(Timestamp.text($0))" } ?? "not connected"
        return "\(id)  \(state)  by \(proofs.isEmpty ? "nothing" : proofs.joined(separator: ", "))  \(names.isEmpty ? "(unnamed)" : names.joined(separator: ", "))"
    }
}
