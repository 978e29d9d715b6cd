package import Logging
package import MartletNetwork

/// Makes of the configuration how clients log in by tickets of Kerberos.
package struct KerberosAssembly {
    /// In the data folder: it is written by the library, and has no place where others can write.
    private static let replaysFile = "kerberos.replays"

    private let configuration: ServerConfiguration
    package init(configuration: ServerConfiguration) { self.configuration = configuration }

    /// `nil` if no domain lets anybody in so.
    package var settings: KerberosSettings? {
        let asking = configuration.domains.filter { !$0.kerberosRealms.isEmpty }
        guard let keytab = configuration.kerberos.keytab, !asking.isEmpty else { return nil }
        let realms = Dictionary(asking.map { ($0.name, Set($0.kerberosRealms)) }) { first, _ in first }
        var settings = KerberosSettings(keytab: keytab, replays: "\(configuration.server.dataFolder)/\(Self.replaysFile)", realms: realms)
        settings.service = configuration.kerberos.service
        settings.hostname = configuration.kerberos.hostname
        return settings
    }

    /// The keytab is read, so that what is wrong with it is known before clients come.
    package func acceptor(log: Logger) throws(CommandFailure) -> KerberosAcceptor? {
        guard let settings else { return nil }
        try checkLibrary()
        do throws(KerberosFault) { return try KerberosAcceptor(settings, log: log) } catch {
            throw CommandFailure(.configuration, "\(settings.keytab): \(error)", hint: "it is named by kerberos.keytab")
        }
    }

    /// Whether the system can read tickets, if that is asked for.
    package func checkLibrary() throws(CommandFailure) {
        guard settings != nil, let fault = KerberosAcceptor.libraryFault else { return }
        throw CommandFailure(
            .unavailable, "tickets of Kerberos cannot be read: \(fault)",
            hint: "install MIT's library (apt-get install libgssapi-krb5-2), or take out kerberos-realms")
    }
}
