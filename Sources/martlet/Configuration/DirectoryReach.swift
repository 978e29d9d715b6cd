import MartletLDAP

/// What it takes to ask a directory: its servers, what is believed about them, and as whom they are asked.
package protocol DirectoryReach: ConfigurationSection {
    var servers: [String] { get set }
    var startTLS: ServerConfiguration.Directory.StartTLS { get set }
    /// PEM file; without it, the authorities that the machine trusts.
    var trustAnchors: String? { get set }
    var certificate: String? { get set }
    var key: String? { get set }
    var logIn: ServerConfiguration.Directory.LogIn { get set }
    var connectTimeout: Duration { get set }
    var operationTimeout: Duration { get set }
}

extension ServerConfiguration.Directory: DirectoryReach {}

extension ConfigurationSchema {
    /// The keys by which a directory is reached.
    static func reach<Section: DirectoryReach>(servers counts: ClosedRange<Int> = 0...16, logIn: String) -> [ConfigurationField<Section>] {
        [
            .list(
                "servers", \.servers, of: .directoryURL, .restart, counts: counts, example: "ldaps://ldap1.example.org",
                """
                Its servers, in the order in which they are tried: ldaps://host, ldap://host with start-tls, or ldapi:// with the path of a socket, each / of which is \
                written %2F.
                """),
            .value(
                "start-tls", \.startTLS, .choice, .restart,
                "required: a connection to an ldap:// server is encrypted before anything else is said. off is for addresses of this machine only."),
            .value(
                "trust-anchors", \.trustAnchors, .optional(.path), .restart, example: "/etc/martlet/ldap-ca.pem",
                "PEM file with the authorities that are believed about its servers' certificates. Without it, those of this machine. Relative to this file."),
            .value(
                "certificate", \.certificate, .optional(.path), .restart, example: "/etc/martlet/ldap-client.pem",
                "PEM file with the certificate, and the chain behind it, that its servers are shown. Relative to this file."),
            .value(
                "key", \.key, .optional(.path), .restart, example: "/etc/martlet/ldap-client.key",
                "PEM file with that certificate's private key. Relative to this file."),
            .section("log-in", \.logIn, directoryLogIn, logIn),
            .value("connect-timeout", \.connectTimeout, .duration(.milliseconds(100)...(.seconds(60))), .restart, "How long a connection to a server may take to come about."),
            .value("operation-timeout", \.operationTimeout, .duration(.milliseconds(100)...(.seconds(60))), .restart, "How long a server may take to answer."),
        ]
    }
}

extension ConfigurationMapping {
    /// The same with further keys behind one of its own.
    func with(_ others: [ConfigurationField<Section>], behind name: String) -> Self {
        let place = fields.firstIndex { $0.key.name == name }.map { $0 + 1 } ?? fields.endIndex
        return ConfigurationMapping(fields[..<place] + others + fields[place...])
    }
}

extension ConfigurationChecks {
    /// What is secret goes to a directory in no clear text, and what is named is there.
    mutating func checkReach(_ entry: some DirectoryReach, at path: String) {
        checkServers(of: entry, at: path)
        checkLogIn(to: entry, at: path)
        checkReadable(entry.trustAnchors, at: "\(path).trust-anchors", otherwise: "correct the path, or take the line out: then the authorities of this machine are believed")
        checkReadable(entry.certificate, at: "\(path).certificate")
        checkReadable(entry.key, at: "\(path).key")
    }
}
