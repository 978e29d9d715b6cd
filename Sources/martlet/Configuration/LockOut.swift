/// What a change that comes from a directory must not do: shut out those who could take it back.
package enum LockOut {
    /// Why a configuration is not put into force; `nil` if it may be.
    ///
    /// - Parameter running: what is in force, or was when the server ran last.
    package static func refusal(of next: LoadedConfiguration, inPlaceOf running: ServerConfiguration?) -> ConfigurationProblem? {
        if !next.configuration.listeners.contains(where: \.kind.isForClients) {
            return next.problem(
                at: "listeners", "there would be no port for clients", hint: "keep a listener of kind client, client-tls, https or http, or change the file of this machine")
        }
        if let running, running.namesAdmins, !next.configuration.namesAdmins {
            return next.problem(at: "access.admins", "nobody would be an administrator", hint: "name one, or change the file of this machine")
        }
        return nil
    }
}

extension ListenerKind {
    fileprivate var isForClients: Bool {
        switch self {
        case .client, .clientTLS, .https, .http: true
        case .server, .serverTLS, .component, .componentTLS, .ldap, .ldaps: false
        }
    }
}

extension ServerConfiguration {
    /// Whether it says of anybody that he is an administrator, of all or of one domain.
    fileprivate var namesAdmins: Bool { !access.admins.isEmpty || domains.contains { !$0.admins.isEmpty } }
}
