package import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let clientAccess: Namespace = "urn:xmpp:cam:0"
    /// Of what is said of passwords for applications, which no specification has.
    package static let applicationPasswords: Namespace = "urn:x-martlet:application-passwords"
}

/// An account sees which clients have access to it, and takes it away from them.
///
/// A client that has shown the password can show it again, until there is a new one. So what §3.2 says is answered about it, but its tokens and sessions
/// end all the same: whoever has lost a phone is rid of it until somebody types the password. The session that asks goes on, also if it is on the
/// client that it is about, as with a new password. A client is told from others by what it says of itself as it logs in (XEP-0388), else by the
/// resource that it asks for; those that do neither are shown as one.
///
/// Who has come in by the password of an application has a grant; revoking ends the password with it. Such a client sees and revokes nothing itself.
package struct ClientAccess: IQResponder {
    package static let specification = Specification.xep(
        494, "Client Access Management", version: "0.1.0", note: "revoking ends tokens and sessions also of clients that know the password")
    package let disco = DiscoFeatures(account: [.clientAccess])
    private let time: any TimeSource

    package init(time: any TimeSource) { self.time = time }

    package var routes: [IQRoute] {
        [
            .concurrent(.get, "list", .clientAccess) { request, router async throws(StanzaError) in try await list(request, router) },
            .suspending(.set, "revoke", .clientAccess) { request, router async throws(StanzaError) in try await Self.revoke(request, router) },
        ]
    }

    // MARK: Who has access (§3.1)

    private func list(_ request: IQRequest, _ router: Router) async throws(StanzaError) -> IQReply {
        guard !request.isByApplication else { throw .byApplication }
        guard let account = request.account else { throw .serviceUnavailable }
        let devices: [StoredDevice]
        do throws(StoreError) { devices = try await router.store.devices(of: account) } catch { throw StanzaError(refusal: error) }
        let clients = AccessingClient.all(devices, connected: router.connectedDevices(of: request.owner), at: time.wallMilliseconds)
        return IQReply { writer in
            writer.element("clients", .clientAccess) { writer in
                for client in clients { client.write(to: &writer) }
            }
        }
    }

    // MARK: Who has it no longer (§3.2)

    private static func revoke(_ request: IQRequest, _ router: Router) async throws(StanzaError) -> IQReply {
        guard !request.isByApplication else { throw .byApplication }
        guard let text = request.child.attribute("id") else { throw .badRequest("which client?") }
        guard let device = DeviceID(text: text) else { throw DeviceRefusal.noDevice.stanzaError }
        let asker: FullJID? = if case .full(let address) = request.actor, address.bare == request.owner { address } else { nil }
        let outcome: DeviceRevocation
        do throws(DeviceRefusal) {
            outcome = try await router.revoke(device, of: request.owner, sparing: asker, by: request.actor.description)
        } catch { throw error.stanzaError }
        switch outcome {
        case .revoked: return .empty
        case .passwordRemains:
            throw StanzaError(
                .serviceUnavailable, .cancel, text: "its tokens and sessions have ended, but it has been given the password",
                application: QName("password-reset-required", .clientAccess))
        case .certificateRemains:
            throw StanzaError(.serviceUnavailable, .cancel, text: "its tokens and sessions have ended, but it logs in with a certificate")
        case .grantRemains:
            throw StanzaError(.serviceUnavailable, .cancel, text: "its tokens and sessions have ended, but an authorization server gives it others")
        }
    }
}

/// A client that has access to an account.
package struct AccessingClient: Hashable, Sendable {
    package var id: DeviceID
    /// Whether it has a session, or one that it may go on with.
    package var isConnected: Bool
    package var knowsPassword: Bool
    package var hasToken: Bool
    /// Whether it has shown a certificate, for which the protocol has no word.
    package var hasCertificate: Bool { device?.proofs.contains(.certificate) ?? false }
    /// Whether it has come in by a token of an authorization server.
    package var hasGrant: Bool { device?.proofs.contains(.grant) ?? false }
    /// The passwords for applications that would end with its access.
    package var applicationPasswords: [String] { device?.applicationPasswords.names ?? [] }
    /// What is remembered of it; `nil` if it is only known to be connected.
    package var device: StoredDevice?

    /// Those that have access at a time, in milliseconds since 1970; the one that was seen last comes first. What is remembered of others is not shown.
    package static func all(_ devices: [StoredDevice], connected: Set<DeviceID>, at time: Int64) -> [AccessingClient] {
        let known = devices.sorted { ($0.lastSeen, $0.id.raw) > ($1.lastSeen, $1.id.raw) }.map { device in
            AccessingClient(
                id: device.id, isConnected: connected.contains(device.id), knowsPassword: device.proofs.contains(.password),
                hasToken: device.hasToken(at: time), device: device)
        }
        let unknown = connected.subtracting(devices.map(\.id)).sorted().map { id in
            AccessingClient(id: id, isConnected: true, knowsPassword: false, hasToken: false, device: nil)
        }
        return unknown + known.filter {
            $0.isConnected || $0.knowsPassword || $0.hasToken || $0.hasCertificate || $0.hasGrant || !$0.applicationPasswords.isEmpty
        }
    }

    fileprivate func write(to writer: inout XMLWriter) {
        let attributes: KeyValuePairs<StaticString, String?> = ["connected": isConnected ? "true" : "false", "id": id.text, "type": "session"]
        writer.element("client", .clientAccess, attributes) { writer in
            if let device {
                writer.element("first-seen", .clientAccess, text: DateTime.text(milliseconds: device.firstSeen))
                writer.element("last-seen", .clientAccess, text: DateTime.text(milliseconds: device.lastSeen))
            }
            writer.element("auth", .clientAccess) { writer in
                if knowsPassword { writer.element("password", .clientAccess) }
                if hasGrant || !applicationPasswords.isEmpty { writer.element("grant", .clientAccess) }
                for name in applicationPasswords { writer.element("application-password", .applicationPasswords, text: name) }
                if hasToken { writer.element("fast", .clientAccess) }
            }
            writer.element("permission", .clientAccess, ["status": "unrestricted"])
            if let device { Self.writeUserAgent(device, to: &writer) }
        }
    }

    private static func writeUserAgent(_ device: StoredDevice, to writer: inout XMLWriter) {
        let name = device.label ?? device.name
        guard device.software != nil || name != nil else { return }
        writer.element("user-agent", .clientAccess) { writer in
            if let software = device.software { writer.element("software", .clientAccess, text: software) }
            if let name { writer.element("device", .clientAccess, text: name) }
        }
    }
}
