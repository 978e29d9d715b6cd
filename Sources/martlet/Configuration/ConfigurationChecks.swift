import MartletFeatures
import MartletNetwork
import MartletXML
import MartletXMPP

/// What no single value can tell: values that contradict each other, names that occur twice, files that are not there.
struct ConfigurationChecks {
    private let loaded: LoadedConfiguration
    /// Paths of values that have been found wrong and hold their defaults.
    let faulty: Set<String>
    /// `nil`: what the configuration names is not looked at.
    private let files: ConfigurationFiles?
    private(set) var problems: [ConfigurationProblem] = []

    init(_ loaded: LoadedConfiguration, faulty: Set<String>, files: ConfigurationFiles?) {
        self.loaded = loaded
        self.faulty = faulty
        self.files = files
    }

    var configuration: ServerConfiguration { loaded.configuration }

    mutating func run() {
        checkConfigurationDirectory()
        checkDomains()
        checkServices()
        checkAdmins()
        checkListeners()
        checkLimits()
        checkMechanisms()
        checkLoginRules()
        checkSharedGroups()
        checkPresence()
        checkDataPolicies()
        checkControlSocket()
        checkPeers()
        checkAnchors()
        checkClientCertificates()
        checkOAuth()
        checkKerberos()
        checkDirectories()
        checkDirectoryClients()
        checkReadable(
            configuration.accounts.refusedPasswords, at: "accounts.refused-passwords",
            otherwise: "it is a file with a password on each line; take the line out if there is none")
        checkComponents()
        checkExternalServices()
        checkUploads()
        checkWebAddresses()
        checkPeoplePages()
        checkACME()
        checkServerInformation()
        checkBlockLists()
    }

    mutating func report(_ path: String, _ message: String, hint: String? = nil) {
        guard problems.count < ConfigurationReading.problemsMax else { return }
        problems.append(loaded.problem(.error, at: path, message, hint: hint))
    }

    mutating func warn(_ path: String, _ message: String, hint: String? = nil) {
        problems.append(loaded.problem(.warning, at: path, message, hint: hint))
    }

    private mutating func checkDomains() {
        var firstByName: [String: String] = [:]
        for (index, domain) in configuration.domains.enumerated() where !domain.name.isEmpty {
            let path = "domains[\(index)]"
            if let first = firstByName[domain.name] {
                report("\(path).name", "the domain \(domain.name) is there twice", hint: alreadyHint(first))
            } else {
                firstByName[domain.name] = "\(path).name"
            }
            checkCertificate(of: domain, at: path)
        }
    }

    /// Whatever has an address of its own has one that nothing else has.
    private mutating func checkServices() {
        var owners = Dictionary(configuration.domains.map { ($0.name, "a domain") }) { first, _ in first }
        var reported: Set<String> = []
        var seen: Set<String> = []
        for domain in configuration.domains where !domain.name.isEmpty && seen.insert(domain.name).inserted {
            for service in services(of: domain) {
                guard let owner = owners.updateValue(service.description, forKey: service.address), reported.insert(service.path).inserted else { continue }
                report(service.path, "\(service.address) would be both \(owner) and \(service.description)", hint: "choose another name")
            }
        }
    }

    /// What the server has at an address below a domain.
    private struct Service {
        let address: String
        let path: String
        let description: String
    }

    private func services(of domain: ServerConfiguration.Domain) -> [Service] {
        let all = [
            (configuration.rooms.isEnabled, configuration.rooms.subdomain, "rooms.subdomain", "the rooms of \(domain.name)"),
            (configuration.pubsub.service.isEnabled, configuration.pubsub.service.subdomain, "pubsub.service.subdomain", "nodes of \(domain.name)"),
            (configuration.bytestreams.isEnabled, configuration.bytestreams.subdomain, "bytestreams.subdomain", "the proxy of \(domain.name)"),
            (configuration.search.isEnabled, configuration.search.subdomain, "search.subdomain", "the search of \(domain.name)"),
            (configuration.offersUploads, configuration.uploads.subdomain, "uploads.subdomain", "the uploads of \(domain.name)"),
        ]
        return all.filter(\.0).map { Service(address: "\($1).\(domain.name)", path: $2, description: $3) }
    }

    /// A component has a name of its own, and a domain that is there.
    private mutating func checkComponents() {
        var owners = Dictionary(configuration.domains.map { ($0.name, "a domain of this server") }) { first, _ in first }
        for domain in configuration.domains {
            for service in services(of: domain) { owners[service.address] = "a service of \(domain.name)" }
        }
        checkBelow(Set(owners.keys).union(configuration.components.map(\.name)))
        for (index, component) in configuration.components.enumerated() {
            let path = "components[\(index)]"
            if !component.name.isEmpty, let owner = owners.updateValue("another component", forKey: component.name) {
                report("\(path).name", "\(component.name) is \(owner) already", hint: "choose another name")
            }
            if let domain = component.domain, !configuration.domains.contains(where: { $0.name == domain }) {
                report("\(path).domain", "this server does not host \(ConfigurationSource.shortened(domain))")
            }
            checkSecret(component.secretFile, at: "\(path).secret-file", otherwise: "it holds the component's secret, on one line")
            checkPowers(of: component, at: path)
        }
        checkDelegatedOnce()
        if !configuration.components.isEmpty, !configuration.listeners.contains(where: \.kind.isForComponents) {
            warn("components", "there is no port on which components can connect", hint: "add a listener of kind component")
        }
    }

    /// What is below a component's name and somebody else's is not the component's, whatever it is said to serve. It may have been meant otherwise.
    private mutating func checkBelow(_ names: Set<String>) {
        for (index, component) in configuration.components.enumerated() where component.servesSubdomains && !component.name.isEmpty {
            let others = names.filter { $0.hasSuffix(".\(component.name)") }.sorted()
            guard let first = others.first else { continue }
            let more = others.count > 1 ? " and \(others.count - 1) more below it are" : " is"
            warn("components[\(index)].subdomains", "\(ConfigurationSource.shortened(first))\(more) not the component's")
        }
    }

    /// Who is told where to connect asks DNS for nothing, so that everybody has to be told.
    private mutating func checkWebAddresses() {
        guard !configuration.web.addresses.isEmpty, !faulty.contains("listeners"), !configuration.saysPorts else { return }
        warn(
            "web.addresses", "host-meta.json does not name them: clients or other servers could not be told where to connect with TLS from the first byte",
            hint: "add listeners of kind client-tls, and of kind server-tls unless federation is off")
    }

    /// Browsers come by HTTP only.
    private mutating func checkPeoplePages() {
        guard !faulty.contains("listeners"), !configuration.listeners.contains(where: \.kind.speaksHTTP) else { return }
        for (index, domain) in configuration.domains.enumerated() where domain.peoplePage != .off {
            warn("domains[\(index)].people-page", "there is no port at which anybody could look at it", hint: "add a listener of kind https")
        }
    }

    /// An authority is asked only for what is ours, and only if the operator has agreed to its terms.
    private mutating func checkACME() {
        let acme = configuration.acme
        guard acme.isEnabled else { return }
        if let text = acme.directory {
            if HTTPURL(text)?.scheme != .https { report("acme.directory", "\(ConfigurationSource.shortened(text)) is no https: URL") }
        } else if !faulty.contains("acme.directory") {
            report("acme.enabled", "it is not said which authority is asked", hint: "add acme.directory, the URL of its directory")
        }
        if !acme.agreesToTerms, !faulty.contains("acme.terms-agreed") {
            report("acme.enabled", "nobody has agreed to the authority's terms", hint: "read them, and set acme.terms-agreed to true if you do")
        }
        for (index, name) in acme.domains.enumerated() {
            guard let domain = configuration.domains.first(where: { $0.name == name }) else {
                report("acme.domains[\(index)]", "this server does not host \(ConfigurationSource.shortened(name))")
                continue
            }
            if domain.certificate != nil { report("acme.domains[\(index)]", "\(name) has a certificate already", hint: "take its lines certificate: and key: out") }
        }
        let account = acme.externalAccount
        if (account.identifier == nil) != (account.keyFile == nil) { report("acme.external-account", "a key and its name belong together", hint: "set id and key-file") }
        checkSecret(account.keyFile, at: "acme.external-account.key-file", otherwise: "it holds the key that the authority has given, in Base64 on one line")
        checkReadable(
            acme.trustAnchors, at: "acme.trust-anchors",
            otherwise: "correct the path, or take the line out: then the authorities of this machine are believed")
    }

    /// A bucket is of use only with all that it takes to reach it.
    private mutating func checkUploads() {
        let (uploads, s3) = (configuration.uploads, configuration.uploads.s3)
        guard uploads.store == .s3 else { return }
        for (name, value) in [("endpoint", s3.endpoint), ("bucket", s3.bucket), ("access-key", s3.accessKey), ("secret-key-file", s3.secretKeyFile)] {
            let path = "uploads.s3.\(name)"
            if value == nil, !faulty.contains(path) { report("uploads.store", "a bucket needs \(path)", hint: "set it, or take this line out") }
        }
        checkSecret(s3.secretKeyFile, at: "uploads.s3.secret-key-file", otherwise: "it holds the secret of the access key, on one line")
        checkReadable(
            s3.trustAnchors, at: "uploads.s3.trust-anchors",
            otherwise: "correct the path, or take the line out: then the authorities of this machine are believed")
        requireAtMost(uploads.fileBytesMax, "uploads.file-bytes", S3FileStore.fileBytesMax, "what a bucket takes at once")
        guard let endpoint = s3.endpoint.flatMap({ HTTPURL($0) }) else {
            if let endpoint = s3.endpoint { report("uploads.s3.endpoint", "\(ConfigurationSource.shortened(endpoint)) is no address") }
            return
        }
        if case .address(let address) = endpoint.host {
            if !s3.pathStyle { report("uploads.s3.endpoint", "\(address) has no names below it for buckets", hint: "set uploads.s3.path-style to true") }
            if endpoint.scheme == .http, AddressPolicy().refusal(of: address) == .loopback { return }
        }
        if endpoint.scheme == .http { warn("uploads.s3.endpoint", "files cross the network in the clear", hint: "write https:// if the service speaks TLS") }
    }

    /// What a component may do is about domains that are there, and what the server does itself it goes on doing itself.
    private mutating func checkPowers(of component: ServerConfiguration.Component, at path: String) {
        for (index, domain) in component.managedDomains.enumerated() where !configuration.domains.contains(where: { $0.name == domain }) {
            report("\(path).managed-domains[\(index)]", "this server does not host \(ConfigurationSource.shortened(domain))")
        }
        if component.privileges.presence == .roster, component.privileges.roster != .get, component.privileges.roster != .both {
            report(
                "\(path).privileges.presence", "who may not read rosters does not hear of contacts either (XEP-0356 §7.4)",
                hint: "add a line with roster: get, or write managed_entity")
        }
        let publishes = component.delegations.contains { $0.name == Namespace.pubsub.name && $0.attributes.isEmpty }
        for (index, delegation) in component.delegations.enumerated() {
            let key = "\(path).delegations[\(index)]"
            guard NamespaceDelegation.mayDelegate(delegation.name) else {
                report(key, "\(ConfigurationSource.shortened(delegation.name)) is not delegated: the server answers for that itself")
                continue
            }
            guard [NamespaceDelegation.remainingInfo, NamespaceDelegation.remainingItems].contains(delegation.name) else { continue }
            if !delegation.attributes.isEmpty { report(key, "\(delegation.name) has no attributes") }
            if !publishes { report(key, "what accounts publish is the server's", hint: "delegate \(Namespace.pubsub.name) as well") }
        }
    }

    /// A namespace has one component at most that answers for a domain.
    private mutating func checkDelegatedOnce() {
        var answerers: [String: String] = [:]
        for (index, component) in configuration.components.enumerated() {
            for (place, delegation) in component.delegations.enumerated() {
                let keys = configuration.managedDomains(of: component).map { "\($0) \(delegation.name)" }
                let others = keys.compactMap { answerers.updateValue(component.name, forKey: $0) }
                guard let other = others.first else { continue }
                report("components[\(index)].delegations[\(place)]", "\(ConfigurationSource.shortened(delegation.name)) is delegated to \(other) already")
            }
        }
    }

    /// What is told needs a place.
    private mutating func checkServerInformation() {
        guard configuration.pubsub.service.publishesServerInformation, !configuration.pubsub.service.isEnabled else { return }
        report("pubsub.service.server-info", "there is no service to publish it at", hint: "set pubsub.service.enabled to true as well")
    }

    /// Each list once: it would be asked for twice, and be forgotten when one of the two goes.
    private mutating func checkBlockLists() {
        var firstByList: [String: Int] = [:]
        for (index, list) in configuration.blockLists.enumerated() where !list.service.isEmpty {
            let first = firstByList["\(list.service) \(list.node)", default: index]
            firstByList["\(list.service) \(list.node)"] = first
            guard first != index else { continue }
            report("block-lists[\(index)].service", "the list \(list.service) \(list.node) is there twice", hint: alreadyHint("block-lists[\(first)].service"))
        }
    }

    /// Secrets of components do not cross the network in the clear, but what is said behind them does.
    private mutating func checkComponentListener(_ listener: ServerConfiguration.Listener, at path: String) {
        guard listener.kind == .component, !configuration.components.isEmpty, !listener.addresses.allSatisfy(\.isLoopback) else { return }
        warn(
            "\(path).addresses", "what components send and get may cross the network in the clear",
            hint: "open the listener on 127.0.0.1 only, or make it one of kind component-tls")
    }

    private mutating func checkCertificate(of domain: ServerConfiguration.Domain, at path: String) {
        let isFaulty = faulty.contains("\(path).certificate") || faulty.contains("\(path).key")
        switch (domain.certificate, domain.key) {
        case (.some, nil) where !isFaulty:
            report("\(path).certificate", "a certificate needs its key", hint: "add a line with key: and its path")
        case (nil, .some) where !isFaulty:
            report("\(path).key", "a key needs its certificate", hint: "add a line with certificate: and its path")
        case (.some, _), (nil, _): break
        }
        checkReadable(domain.certificate, at: "\(path).certificate")
        checkReadable(domain.key, at: "\(path).key")
        checkSecond(of: domain, at: path)
    }

    private mutating func checkSecond(of domain: ServerConfiguration.Domain, at path: String) {
        guard !faulty.contains("\(path).second-certificate"), !faulty.contains("\(path).second-key"), !faulty.contains("\(path).certificate") else { return }
        switch (domain.secondCertificate, domain.secondKey) {
        case (.some, nil): report("\(path).second-certificate", "a certificate needs its key", hint: "add a line with second-key: and its path")
        case (nil, .some): report("\(path).second-key", "a key needs its certificate", hint: "add a line with second-certificate: and its path")
        case (.some, .some) where domain.certificate == nil:
            report("\(path).second-certificate", "there is no first one", hint: "name it by certificate: and key:")
        case (.some, .some), (nil, nil): break
        }
        checkReadable(domain.secondCertificate, at: "\(path).second-certificate")
        checkReadable(domain.secondKey, at: "\(path).second-key")
    }

    /// - Parameter otherwise: what to do if it is not there.
    mutating func checkReadable(_ file: String?, at path: String, otherwise hint: String? = nil) {
        guard let file, let fault = files?.fault(file) else { return }
        let hint = fault == .notPermitted ? "give the server's user the right to read it" : hint
        report(path, "\(ConfigurationSource.shortened(file)) cannot be read: \(fault)", hint: hint)
    }

    /// A secret is there, is one, and is one still when the server starts.
    mutating func checkSecret(_ file: String?, at path: String, otherwise hint: String) {
        checkReadable(file, at: path, otherwise: hint)
        guard let file, let files, files.fault(file) == nil else { return }
        let name = ConfigurationSource.shortened(file)
        switch files.read(file, SecretFile.bytesMax) {
        case .failure(.tooLarge): report(path, "\(name) \(SecretFile.Fault.tooLong)", hint: hint)
        case .failure(let fault): report(path, "\(name) cannot be read: \(fault)", hint: hint)
        case .success(let bytes):
            do throws(SecretFile.Fault) { _ = try SecretFile.secret(in: bytes) } catch { report(path, "\(name) \(error)", hint: hint) }
        }
        if files.isOpenToAll(file) { warn(path, "whoever is on this machine can read \(name)", hint: "chmod 600 \(name)") }
    }

    private mutating func checkExternalServices() {
        for (index, service) in configuration.externalServices.enumerated() {
            checkSecret(
                service.secretFile, at: "external-services[\(index)].secret-file", otherwise: "it holds what the service shares with this server, on one line")
        }
    }

    private mutating func checkPeers() {
        let own = configuration.peers.indices.filter { configuration.peers[$0].trustAnchors != nil }
        for index in own.dropFirst(PeerProof.trustsMax) {
            report("peers[\(index)].trust-anchors", "more than \(PeerProof.trustsMax) servers have trust anchors of their own")
        }
    }

    /// Without a file that it names, the server would not start.
    private mutating func checkAnchors() {
        let federation = configuration.federation
        guard federation.isEnabled else { return }
        checkReadable(
            federation.trustAnchors, at: "federation.trust-anchors",
            otherwise: "correct the path, or take the line out: then the authorities of this machine are believed")
        checkReadable(
            federation.dnssecAnchor, at: "federation.dnssec-anchor",
            otherwise: "correct the path, or take the line out: then the keys are read from where Debian keeps them")
        for (index, peer) in configuration.peers.enumerated() {
            checkReadable(
                peer.trustAnchors, at: "peers[\(index)].trust-anchors",
                otherwise: "correct the path, or take the line out: then it is believed as any other server")
        }
    }

    /// Whoever asks for certificates has to say whose are believed, and where the accounts are found.
    private mutating func checkClientCertificates() {
        let section = configuration.clientCertificates
        guard let index = configuration.domains.firstIndex(where: { $0.clientCertificates != .off }) else { return }
        if section.trustAnchors == nil, !section.isUserManaged {
            report(
                "domains[\(index)].client-certificates", "no authority is believed about clients",
                hint: "name a file with authorities by client-certificates.trust-anchors, or let accounts add certificates by client-certificates.user-managed")
        }
        checkReadable(section.trustAnchors, at: "client-certificates.trust-anchors")
        checkReadable(section.authorities, at: "client-certificates.authorities")
        checkReadable(section.mailAuthorities, at: "client-certificates.mail-authorities")
        let needs: [(CertificateMapping, String?, String)] = [
            (.published, section.published, "published"), (.mail, section.mailAuthorities, "mail-authorities"), (.subject, section.subject, "subject"),
        ]
        for (rule, value, key) in needs where section.mapping.contains(rule) && value == nil {
            report("client-certificates.mapping", "\(rule.rawValue) needs client-certificates.\(key)")
        }
        if section.needsPublished, section.published == nil {
            report("client-certificates.require-published", "there is no folder of published certificates", hint: "name it by client-certificates.published")
        }
        if section.needsPublished, section.isUserManaged {
            report("client-certificates.user-managed", "accounts cannot add certificates where all have to be published (client-certificates.require-published)")
        }
    }

    /// A domain believes one authorization server, which is reached where nobody can speak in its place.
    private mutating func checkOAuth() {
        var owners: [String: String] = [:]
        for (index, entry) in configuration.oauth.enumerated() {
            let path = "oauth[\(index)]"
            for domain in entry.domains where !configuration.domains.contains(where: { $0.name == domain }) {
                report("\(path).domains", "this server does not host \(ConfigurationSource.shortened(domain))")
            }
            for domain in entry.domains.isEmpty ? configuration.domains.map(\.name) : entry.domains where !domain.isEmpty {
                guard let owner = owners.updateValue(path, forKey: domain), owner != path else { continue }
                report(entry.domains.isEmpty ? path : "\(path).domains", "\(domain) believes the issuer of \(owner) already")
            }
            checkPlace(entry.issuer, at: "\(path).issuer")
            checkPlace(entry.discovery, at: "\(path).discovery")
            checkPlace(entry.keys, at: "\(path).keys")
            checkIntrospection(entry, at: path)
            checkReadable(
                entry.trustAnchors, at: "\(path).trust-anchors",
                otherwise: "correct the path, or take the line out: then the authorities of this machine are believed")
        }
    }

    private mutating func checkPlace(_ text: String?, at path: String) {
        guard let text, !text.isEmpty else { return }
        guard let url = HTTPURL(text) else { return report(path, "\(ConfigurationSource.shortened(text)) is no https: URL") }
        guard !ServerConfiguration.OAuthIssuer.isSafe(url) else { return }
        report(path, "whoever is on the way could say what he likes", hint: "write https://; http:// is for addresses of this machine")
    }

    private mutating func checkIntrospection(_ entry: ServerConfiguration.OAuthIssuer, at path: String) {
        let introspection = entry.introspection
        let all = [("url", introspection.url), ("client-id", introspection.clientID), ("secret-file", introspection.secretFile)]
        checkPlace(introspection.url, at: "\(path).introspection.url")
        checkSecret(introspection.secretFile, at: "\(path).introspection.secret-file", otherwise: "it holds the secret of this server's there, on one line")
        guard all.contains(where: { $0.1 != nil }) else { return }
        for (name, value) in all where value == nil && !faulty.contains("\(path).introspection.\(name)") {
            report("\(path).introspection", "introspection needs \(name)", hint: "set url, client-id and secret-file, or none of them")
        }
        if entry.keys != nil { warn("\(path).keys", "keys are not used where the authorization server is asked about each token") }
    }

    /// Whoever lets people in by tickets has a key by which they are read.
    private mutating func checkKerberos() {
        guard let index = configuration.domains.firstIndex(where: { !$0.kerberosRealms.isEmpty }) else { return }
        if configuration.kerberos.keytab == nil {
            report("domains[\(index)].kerberos-realms", "there is no key by which tickets are read", hint: "name the server's keytab by kerberos.keytab")
        }
        for (index, domain) in configuration.domains.enumerated() where !domain.kerberosRealms.isEmpty && domain.clientCertificates == .require {
            warn("domains[\(index)].kerberos-realms", "nobody logs in at \(domain.name) without a certificate, so no ticket is good there")
        }
        let hint = "its keys are written by ktadd, of MIT's kadmin, or by ktpass, of Windows"
        checkReadable(configuration.kerberos.keytab, at: "kerberos.keytab", otherwise: hint)
        guard let settings = KerberosAssembly(configuration: configuration).settings, let files, files.fault(settings.keytab) == nil else { return }
        let name = ConfigurationSource.shortened(settings.keytab)
        switch files.read(settings.keytab, Keytab.bytesMax) {
        case .failure(let fault): report("kerberos.keytab", "\(name) cannot be read: \(fault)", hint: hint)
        case .success(let bytes):
            do throws(Keytab.Fault) {
                guard try !Keytab(parsing: bytes).principals.contains(where: settings.isOurs) else { break }
                report("kerberos.keytab", "\(name) has no key of \(settings.service)/\(settings.hostname ?? "HOST")", hint: hint)
            } catch { report("kerberos.keytab", "\(name) \(error)", hint: hint) }
        }
        if files.isOpenToAll(settings.keytab) { warn("kerberos.keytab", "whoever is on this machine can read \(name)", hint: "chmod 600 \(name)") }
    }

    /// An admin who can never log in is a typing error.
    private mutating func checkAdmins() {
        let domains = Set(configuration.domains.map(\.name))
        guard !domains.contains(""), !domains.isEmpty else { return }
        checkAdmins(configuration.access.admins, at: "access.admins", domains)
        for (index, domain) in configuration.domains.enumerated() {
            checkAdmins(domain.admins, at: "domains[\(index)].admins", domains)
        }
    }

    private mutating func checkAdmins(_ admins: [String], at path: String, _ domains: Set<String>) {
        // Indexes in the list and in the file differ once an item was refused.
        guard !faulty.contains(where: { $0.hasPrefix(path) }) else { return }
        for (index, admin) in admins.enumerated() where problems.count < ConfigurationReading.problemsMax {
            guard let domain = admin.split(separator: "@").last.map(String.init), !domains.contains(domain) else { continue }
            let hosted = domains.sorted()
            let nearest = NearestName.nearest(to: domain, among: hosted)
            report(
                "\(path)[\(index)]", "this server does not host \(ConfigurationSource.shortened(domain))",
                hint: nearest.map { "did you mean \($0)?" } ?? "the domains are \(hosted.prefix(10).joined(separator: ", "))")
        }
    }

    /// A socket that is going to be opened.
    private struct Endpoint {
        let address: IPAddress
        let port: Int
        let path: String

        func collides(with other: Endpoint) -> Bool {
            guard port == other.port, address.isIPv6 == other.address.isIPv6 else { return false }
            return address == other.address || address.isUnspecified || other.address.isUnspecified
        }
    }

    private mutating func checkListeners() {
        var opened: [Int: [Endpoint]] = [:]
        for (index, listener) in configuration.listeners.enumerated() {
            let path = "listeners[\(index)]"
            for (number, address) in listener.addresses.enumerated() where listener.port > 0 {
                check(Endpoint(address: address, port: listener.port, path: "\(path).addresses[\(number)]"), &opened)
            }
            checkPlaintext(listener, at: path)
            checkHTTP(listener, at: path)
            checkComponentListener(listener, at: path)
        }
        if let port = configuration.acme.port, configuration.acme.isEnabled {
            for (number, address) in configuration.acme.addresses.enumerated() {
                check(Endpoint(address: address, port: port, path: number == 0 ? "acme.port" : "acme.addresses[\(number)]"), &opened)
            }
        }
        guard let port = configuration.metrics.port else { return }
        check(Endpoint(address: configuration.metrics.address, port: port, path: "metrics.port"), &opened)
        if !configuration.metrics.address.isLoopback {
            warn("metrics.address", "whoever reaches \(configuration.metrics.address) can read the metrics")
        }
    }

    private mutating func check(_ endpoint: Endpoint, _ opened: inout [Int: [Endpoint]]) {
        if let first = opened[endpoint.port]?.first(where: endpoint.collides) {
            report(
                endpoint.path, "port \(endpoint.port) on \(endpoint.address) is opened already, on \(first.address)",
                hint: alreadyHint(first.path))
        }
        opened[endpoint.port, default: []].append(endpoint)
    }

    private mutating func checkPlaintext(_ listener: ServerConfiguration.Listener, at path: String) {
        guard listener.plaintextAuthentication, !listener.addresses.allSatisfy(\.isLoopback), listener.proxySources.isEmpty
        else { return }
        warn(
            "\(path).plaintext-authentication", "passwords may cross the network in the clear",
            hint: "open the listener on 127.0.0.1 only, or name the proxy in proxy-sources")
    }

    /// HTTP without TLS is for reverse proxies, and nobody else is to reach it.
    private mutating func checkHTTP(_ listener: ServerConfiguration.Listener, at path: String) {
        guard listener.kind == .http else { return }
        if !listener.addresses.allSatisfy(\.isLoopback), listener.proxySources.isEmpty {
            report(
                "\(path).addresses", "a listener of kind http is for reverse proxies",
                hint: "open it on 127.0.0.1 only, or name the proxy in proxy-sources")
        }
        if listener.proxySources.isEmpty, !listener.plaintextAuthentication {
            warn(
                "\(path).proxy-sources", "nobody can log in here: no proxy is believed that there is encryption",
                hint: "name the proxy in proxy-sources, such as 127.0.0.1/32")
        }
    }

    private mutating func checkLimits() {
        let limits = configuration.limits
        requireAtMost(
            limits.stanzaBytesBeforeAuthenticationMax, "limits.stanza-bytes-before-authentication", limits.stanzaBytesMax,
            "limits.stanza-bytes")
        if limits.stanzaBytesPerSecond != nil {
            requireAtMost(limits.stanzaBytesMax, "limits.stanza-bytes", limits.stanzaBytesBurst, "limits.stanza-bytes-burst")
        }
        requireAtMost(limits.stanzaBytesMax, "limits.stanza-bytes", limits.sessionQueueBytesMax, "limits.session-queue-bytes")
        requireAtMost(limits.vCardBytesMax, "limits.vcard-bytes", limits.stanzaBytesMax, "limits.stanza-bytes")
        let uploads = configuration.uploads
        requireAtMost(uploads.fileBytesMax, "uploads.file-bytes", uploads.accountBytesMax, "uploads.account-bytes")
        requireAtMost(uploads.fileBytesMax, "uploads.file-bytes", uploads.accountDayBytesMax, "uploads.account-bytes-per-day")
    }

    /// Reported at the one of the two that somebody set.
    private mutating func requireAtMost(_ value: Int, _ path: String, _ bound: Int, _ boundPath: String) {
        guard value > bound, !faulty.contains(path), !faulty.contains(boundPath) else { return }
        if loaded.origin(of: path) != .standard {
            report(path, "\(ByteSize.text(value)) is more than \(boundPath), which is \(ByteSize.text(bound))")
        } else {
            report(boundPath, "\(ByteSize.text(bound)) is less than \(path), which is \(ByteSize.text(value))")
        }
    }

    /// What a domain says of its people's data makes sense (XEP-0504).
    private mutating func checkDataPolicies() {
        for (index, domain) in configuration.domains.enumerated() where domain.dataPolicy.access.contains(.none) && domain.dataPolicy.access.count > 1 {
            report("domains[\(index)].data-policy.access", "none is said alone")
        }
    }

    private mutating func checkMechanisms() {
        guard configuration.authentication.mechanisms == [.plain] else { return }
        warn("authentication.mechanisms", "with PLAIN alone every password reaches the server in the clear, inside TLS")
    }

    /// A rule that names nothing, or never decides, is a typing error.
    private mutating func checkLoginRules() {
        // Indexes in lists and in the file differ once an item was refused.
        guard !faulty.contains(where: { $0.hasPrefix("login-") || $0.hasPrefix("domains") || $0.hasPrefix("listeners") }) else { return }
        for finding in LoginRuleChecks(configuration).findings {
            switch finding.severity {
            case .error: report(finding.path, finding.message, hint: finding.hint)
            case .warning: warn(finding.path, finding.message, hint: finding.hint)
            }
        }
    }

    private mutating func checkSharedGroups() {
        // Indexes in lists and in the file differ once an item was refused.
        guard !faulty.contains(where: { $0.hasPrefix("domains") }) else { return }
        for finding in SharedGroupChecks(configuration).findings {
            switch finding.severity {
            case .error: report(finding.path, finding.message, hint: finding.hint)
            case .warning: warn(finding.path, finding.message, hint: finding.hint)
            }
        }
    }

    private mutating func checkPresence() {
        // Indexes in lists and in the file differ once an item was refused.
        guard !faulty.contains(where: { $0.hasPrefix("domains") || $0.hasPrefix("login-groups") }) else { return }
        for finding in PresenceChecks(configuration).findings {
            switch finding.severity {
            case .error: report(finding.path, finding.message, hint: finding.hint)
            case .warning: warn(finding.path, finding.message, hint: finding.hint)
            }
        }
    }

    /// Longest path of a local socket, in bytes. Linux has room for 107, other systems for 103 (`sun_path`, without the closing zero), and NIO takes
    /// no longer ones anywhere. A configuration with a longer one is refused: the server would not start.
    private static let socketPathBytesMax = 103

    private mutating func checkControlSocket() {
        let length = configuration.controlSocketPath.utf8.count
        guard length > Self.socketPathBytesMax else { return }
        let path = loaded.origin(of: "server.control-socket") == .standard ? "server.data" : "server.control-socket"
        report(
            path, "the path of the control socket would be \(length) bytes long, \(Self.socketPathBytesMax) are possible",
            hint: "set server.control-socket to a shorter path")
    }

    private func alreadyHint(_ path: String) -> String {
        switch loaded.origin(of: path) {
        case .standard: "see \(path), a default"
        case let origin: "see \(path), \(origin)"
        }
    }
}
