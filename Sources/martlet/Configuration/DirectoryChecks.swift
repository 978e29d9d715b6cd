import MartletDirectory
import MartletLDAP

extension ConfigurationChecks {
    /// A domain is in one directory, and what is secret goes to it in no clear text.
    mutating func checkDirectories() {
        var owners: [String: String] = [:]
        for (index, entry) in configuration.directories.enumerated() {
            let path = "directories[\(index)]"
            if !entry.domain.isEmpty, !configuration.domains.contains(where: { $0.name == entry.domain }) {
                report("\(path).domain", "this server does not host \(ConfigurationSource.shortened(entry.domain))")
            }
            if let owner = owners.updateValue(path, forKey: entry.domain) { report("\(path).domain", "\(entry.domain) is in the directory of \(owner) already") }
            checkReach(entry, at: path)
            checkRosters(of: entry, at: path)
            checkWritable(entry, at: path)
        }
        checkDirectoryGroups()
    }

    mutating func checkServers(of entry: some DirectoryReach, at path: String) {
        if entry.servers.isEmpty { report("\(path).servers", "there is no server", hint: "write one, such as ldaps://ldap.example.org") }
        for text in entry.servers {
            guard let url = try? LDAPURL(text), let address = url.address else { continue }
            guard case .host(let host, let port, false) = address, entry.startTLS == .off, !DirectoryAddress.plain(host: host, port: port).isLocal else { continue }
            report("\(path).servers", "passwords would go to \(text) in the clear", hint: "write ldaps://, or let start-tls be required")
        }
        guard (entry.certificate == nil) != (entry.key == nil) else { return }
        report("\(path).certificate", "a certificate and its key belong together", hint: "set certificate and key, or neither of them")
    }

    private mutating func checkRosters(of entry: ServerConfiguration.Directory, at path: String) {
        switch (entry.rosters.store, entry.rosters.base) {
        case (.directory, nil) where !faulty.contains("\(path).rosters.base"):
            report("\(path).rosters.base", "it is not said where rosters are", hint: "set base to an entry of the directory, such as ou=rosters,dc=example,dc=org")
        case (.local, _?): warn("\(path).rosters.base", "rosters are not in the directory", hint: "set store to directory, or take base out")
        case (.directory, _), (.local, nil): break
        }
    }

    mutating func checkLogIn(to entry: some DirectoryReach, at path: String) {
        let login = entry.logIn
        checkSecret(login.passwordFile, at: "\(path).log-in.password-file", otherwise: "it holds the password of this server in the directory, on one line")
        if login.mechanism == .external {
            guard login.passwordFile == nil, login.name == nil else {
                return warn("\(path).log-in", "external needs neither name nor password-file: the certificate says who this server is")
            }
        } else if (login.name == nil) != (login.passwordFile == nil) {
            report("\(path).log-in", "a name and its password belong together", hint: "set name and password-file; without both nobody logs in to the directory")
        } else if login.name == nil {
            warn("\(path).log-in", "nobody logs in to the directory: it shows no passwords then, and may show nothing", hint: "set name and password-file")
        }
    }
}
