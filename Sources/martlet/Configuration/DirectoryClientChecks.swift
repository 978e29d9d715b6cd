import MartletDirectory
import MartletLDAP

extension ConfigurationChecks {
    /// What directory clients find is there, and nobody's password goes to it in clear text.
    mutating func checkDirectoryClients() {
        for (index, listener) in configuration.listeners.enumerated() where listener.kind.isForDirectoryClients {
            guard !listener.proxySources.isEmpty else { continue }
            report("listeners[\(index)].proxy-sources", "no PROXY protocol is spoken where directory clients connect", hint: "take the line out")
        }
        let clients = configuration.directoryClients
        guard configuration.servesDirectoryClients else {
            if clients != ServerConfiguration.DirectoryClients() {
                warn("directory-clients", "there is no port at which they could connect", hint: "add a listener of kind ldaps, on port 636")
            }
            return
        }
        if let directory = clients.directory { checkOverlay(clients, before: directory) } else { checkOwnTree(clients) }
    }

    private mutating func checkOverlay(_ clients: ServerConfiguration.DirectoryClients, before domain: String) {
        let known = configuration.directories.map(\.domain)
        guard known.contains(domain) else {
            let hint = known.isEmpty ? "take the line out: then accounts are entries themselves" : "there is \(known.joined(separator: ", "))"
            return report(
                "directory-clients.directory", "no entry of directories is about \(ConfigurationSource.shortened(domain))",
                hint: NearestName.nearest(to: domain, among: known).map { "did you mean \($0)?" } ?? hint)
        }
        for (name, isSet) in [("domains", !clients.domains.isEmpty), ("base", clients.base != nil), ("anonymous", clients.allowsAnonymous)] where isSet {
            report("directory-clients.\(name)", "the directory of \(domain) says that itself", hint: "take the line out, or the one with directory")
        }
    }

    private mutating func checkOwnTree(_ clients: ServerConfiguration.DirectoryClients) {
        if clients.userDomain != nil { report("directory-clients.user-domain", "it is about a directory behind", hint: "set directory, or take the line out") }
        for (index, domain) in clients.domains.enumerated() {
            let path = "directory-clients.domains[\(index)]"
            if !configuration.domains.contains(where: { $0.name == domain }) {
                report(path, "this server does not host \(ConfigurationSource.shortened(domain))")
            } else if configuration.isInDirectory(domain) {
                report(path, "the accounts of \(domain) are in a directory", hint: "set directory-clients.directory: \(domain)")
            }
        }
        let shown = configuration.directoryClientDomains
        if shown.isEmpty, !configuration.domains.isEmpty {
            report("directory-clients.directory", "all accounts are in directories", hint: "name the domain whose directory stands behind")
        }
        guard let base = clients.base else { return }
        if shown.count > 1 { report("directory-clients.base", "one name cannot be that of \(shown.count) domains", hint: "name one domain in directory-clients.domains") }
        guard let first = (try? DistinguishedName(base))?.relativeName?.ordered, first.count == 1, EmbeddedTree.baseTypes.contains(first[0].type) else {
            return report("directory-clients.base", "it begins with none of \(EmbeddedTree.baseTypes.joined(separator: ", "))", hint: "write a name such as o=Example")
        }
    }
}
