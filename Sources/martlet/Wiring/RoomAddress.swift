import MartletXMPP

/// Addresses of rooms as people write them.
struct RoomAddress {
    /// Where the rooms of each domain are.
    private let services: [String: BareJID]

    init(_ configuration: ServerConfiguration) {
        let pairs = configuration.domains.compactMap { domain in configuration.rooms(of: domain).map { (domain.name, $0) } }
        services = Dictionary(pairs) { first, _ in first }
    }

    /// In the order of their names.
    var domains: [String] { services.values.map(\.domainpart).sorted() }

    func isRoom(_ address: BareJID) -> Bool { !address.isDomain && domains.contains(address.domainpart) }

    func parse(_ text: String) throws(CommandFailure) -> BareJID {
        guard !services.isEmpty else { throw Self.noRooms }
        let example = "room@\(domains.first ?? "")"
        guard let address = try? BareJID(parsing: text), !address.isDomain, let localpart = address.localpart else {
            throw CommandFailure(.data, "\(Self.printable(text)) is not an address of a room", hint: "write it like \(example)")
        }
        if isRoom(address) { return address }
        if let service = services[address.domainpart] {
            throw CommandFailure(.data, "\(address) is not an address of a room", hint: "the rooms of \(address.domainpart) are at \(service): \(localpart)@\(service)")
        }
        throw unknown(address.domainpart)
    }

    /// The domain of the rooms of a domain, or that domain itself.
    func domain(_ text: String) throws(CommandFailure) -> String {
        guard !services.isEmpty else { throw Self.noRooms }
        let name = (try? BareJID(parsing: text))?.domainpart ?? text
        if let service = services[name] { return service.domainpart }
        guard domains.contains(name) else { throw unknown(name) }
        return name
    }

    private func unknown(_ domain: String) -> CommandFailure {
        CommandFailure(
            .data, "this server has no rooms at \(Self.printable(domain))",
            hint: NearestName.nearest(to: domain, among: domains).map { "did you mean \($0)?" } ?? "they are at \(domains.prefix(10).joined(separator: ", "))")
    }

    private static var noRooms: CommandFailure { CommandFailure(.configuration, "this server has no rooms", hint: "rooms.enabled in the configuration is false") }
    private static func printable(_ text: String) -> String { ConfigurationProblem.printable(text.prefix(200)) }
}

extension ServerConfiguration {
    /// Where the rooms of a domain are, if it has some.
    func rooms(of domain: Domain) -> BareJID? {
        rooms.isEnabled ? try? BareJID(parsing: "\(rooms.subdomain).\(domain.name)") : nil
    }

    /// Where the service for publishing is, if there is one.
    func pubsub(of domain: Domain) -> BareJID? {
        pubsub.service.isEnabled ? try? BareJID(parsing: "\(pubsub.service.subdomain).\(domain.name)") : nil
    }

    /// Whether files are taken and given: somebody has to listen for them.
    var offersUploads: Bool { uploads.isEnabled && listeners.contains { $0.kind.speaksHTTP } }

    /// Where slots for files are had, if they are.
    func uploads(of domain: Domain) -> BareJID? {
        offersUploads ? try? BareJID(parsing: "\(uploads.subdomain).\(domain.name)") : nil
    }

    /// Where the files of a domain are, without a slash at its end.
    func uploadURL(of domain: Domain) -> String {
        if let url = web.url { return url }
        let name = (try? BareJID(parsing: domain.name))?.asciiDomainpart ?? domain.name
        let port = listeners.first { $0.kind == .https }?.port ?? 443
        return "https://\(name)" + (port == 443 ? "" : ":\(port)")
    }

    /// What has addresses of its own besides the accounts of a domain.
    func bytestreams(of domain: Domain) -> BareJID? {
        bytestreams.isEnabled ? try? BareJID(parsing: "\(bytestreams.subdomain).\(domain.name)") : nil
    }

    /// Where accounts of a domain are searched for, if they are.
    func search(of domain: Domain) -> BareJID? {
        search.isEnabled ? try? BareJID(parsing: "\(search.subdomain).\(domain.name)") : nil
    }

    func services(of domain: Domain) -> [BareJID] {
        let components = components.filter { self.domain(of: $0) == domain.name && $0.name.hasSuffix(".\(domain.name)") }
        let services = [rooms(of: domain), pubsub(of: domain), bytestreams(of: domain), uploads(of: domain), search(of: domain)]
        return services.compactMap(\.self) + components.compactMap { try? BareJID(parsing: $0.name) }
    }
}
