package import MartletXML
package import MartletXMPP
import NIOCore

/// Everything one domain does with a stanza: built once from the feature list, then only read, by every event loop,
/// without a lock. A reload makes a new one.
package final class Host: Sendable {
    package let domain: BareJID
    package let limits: HostLimits
    package let policy: AccessPolicy
    /// Who sees the presence of the domain's accounts without XMPP.
    package let presenceRights: PresenceRights
    package let features: [any Feature]
    /// What answers at the domain's addresses, if that is not accounts.
    package let service: (any DomainService)?
    /// Whether the domains below a service's own are its as well, as far as nobody else has them.
    package let servesSubdomains: Bool
    package let screening: [any ScreeningStage]
    package let annotating: [any AnnotatingStage]
    package let fanOut: [any FanOutStage]
    package let redacting: [any RedactingStage]
    package let fallBack: [any FallBackStage]
    package let naming: [any NamingStage]
    package let delaying: [any DelayStage]
    package let archiving: (any ArchivingStage)?
    package let inline: [any InlineStage]
    /// What can be asked for inside a log-in.
    package let inlineOffer: InlineOffer
    package let observing: [any ObservingStage]
    package let interested: [any InterestStage]
    package let moving: (any MovingStage)?
    package let greeting: (any GreetingStage)?
    package let eventing: (any EventingStage)?
    package let presenting: [any PresentingStage]
    package let registering: (any RegisteringStage)?
    package let componentStages: [any ComponentStage]
    /// `nil` where the server answers everything itself.
    package let delegating: (any DelegatingStage)?
    package let watching: (any WatchingStage)?
    package let listening: (any DomainStage)?
    /// Who says which contacts accounts have because of groups; `nil` where there are none.
    package let sharedRosters: (any SharedRosterSource)?
    package let profiling: (any ProfileStage)?
    private let routes: [Namespace: [IQRoute]]

    package init(
        domain: BareJID, limits: HostLimits = HostLimits(), policy: AccessPolicy = AccessPolicy(), features: [any Feature],
        service: (any DomainService)? = nil, servesSubdomains: Bool = false, sharedRosters: (any SharedRosterSource)? = nil,
        presenceRights: PresenceRights = PresenceRights()
    ) throws(RouteConflict) {
        self.domain = domain
        self.limits = limits
        self.policy = policy
        self.presenceRights = presenceRights
        self.features = features
        self.service = service
        self.servesSubdomains = servesSubdomains
        self.sharedRosters = sharedRosters
        screening = features.compactMap { $0 as? any ScreeningStage }.filter(\.isScreening)
        annotating = features.compactMap { $0 as? any AnnotatingStage }
        fanOut = features.compactMap { $0 as? any FanOutStage }
        redacting = features.compactMap { $0 as? any RedactingStage }
        fallBack = features.compactMap { $0 as? any FallBackStage }
        naming = features.compactMap { $0 as? any NamingStage }
        delaying = features.compactMap { $0 as? any DelayStage }
        archiving = features.lazy.compactMap { $0 as? any ArchivingStage }.first
        inline = features.compactMap { $0 as? any InlineStage }
        inlineOffer = inline.reduce(into: InlineOffer()) { offer, stage in stage.offer(&offer) }
        observing = features.compactMap { $0 as? any ObservingStage }
        interested = features.compactMap { $0 as? any InterestStage }
        presenting = features.compactMap { $0 as? any PresentingStage }
        registering = features.lazy.compactMap { $0 as? any RegisteringStage }.first
        listening = features.lazy.compactMap { $0 as? any DomainStage }.first
        profiling = features.lazy.compactMap { $0 as? any ProfileStage }.first
        componentStages = features.compactMap { $0 as? any ComponentStage }
        delegating = features.lazy.compactMap { $0 as? any DelegatingStage }.first { $0.isDelegating }
        watching = features.lazy.compactMap { $0 as? any WatchingStage }.first
        moving = features.lazy.compactMap { $0 as? any MovingStage }.first
        greeting = features.lazy.compactMap { $0 as? any GreetingStage }.first
        eventing = features.lazy.compactMap { $0 as? any EventingStage }.first
        var routes: [Namespace: [IQRoute]] = [:]
        for route in features.flatMap({ ($0 as? any IQResponder)?.routes ?? [] }) {
            let isTaken = routes[route.namespace, default: []].contains {
                $0.kind == route.kind && $0.scope == route.scope && $0.local.description == route.local.description
            }
            if isTaken { throw RouteConflict(local: route.local.description, namespace: route.namespace) }
            routes[route.namespace, default: []].append(route)
        }
        self.routes = routes
    }

    /// The handler for a request, or `nil`: then the answer is `service-unavailable` (RFC 6120 §8.4).
    package func handler(_ kind: IQRequest.Kind, _ child: ElementView, at scope: IQRoute.Scope) -> IQRoute.Handler? {
        guard let namespace = child.namespace, let candidates = routes[namespace] else { return nil }
        for route in candidates where route.kind == kind && route.scope == scope {
            if child.isNamed(route.local, namespace) { return route.handler }
        }
        return nil
    }

    /// The same, or whoever answers such requests instead of the server (XEP-0355).
    package func handler(
        _ kind: IQRequest.Kind, _ child: ElementView, at scope: IQRoute.Scope, by asker: @autoclosure () -> BareJID
    ) -> IQRoute.Handler? {
        delegating?.handler(kind, child, at: scope, by: asker()) ?? handler(kind, child, at: scope)
    }

    /// What groups put into an account's roster. Under the lock of the account's shard.
    func sharedRoster(of account: BareJID) -> SharedRoster? {
        guard let sharedRosters else { return nil }
        return SharedRoster(sharedRosters.sharing(of: account), of: account, itemsMax: limits.sharedItemsMax)
    }

    /// Whether one of the features answers requests of a namespace.
    package static func answers(_ feature: any Feature, in namespace: String) -> Bool {
        (feature as? any IQResponder)?.routes.contains { $0.namespace.name == namespace } ?? false
    }
}

/// Two features claim the same request.
package struct RouteConflict: Error, Hashable {
    package var local: String
    package var namespace: Namespace
}

/// What one account may occupy. Every limit is configurable per domain and tested on both sides.
package struct HostLimits: Hashable, Sendable {
    /// Sessions of one account at a time; at most 64, the width of ``SessionSet``.
    package var sessionsMax = 16
    package var rosterItemsMax = 1_000
    /// Contacts that groups put into an account's roster besides (``SharedRoster``). Past it, the groups that come last by name are left out.
    package var sharedItemsMax = 1_000
    /// Groups of one roster item.
    package var rosterGroupsMax = 50
    package var blockedMax = 1_000
    /// Addresses that one session may send directed presence to (RFC 6121 §4.6); past it, `policy-violation`.
    package var directedPresenceMax = 1_000
    /// Subscription requests that wait for an account's answer; past it, new ones are dropped.
    package var pendingRequestsMax = 200
    /// A subscription request is kept with its payload only up to this size, in bytes; else without.
    package var subscriptionRequestBytesMax = 4_096
    package var offlineMessagesMax = 1_000
    package var offlineBytesMax = 10 * 1024 * 1024
    /// Stanzas that wait for one account's state to be loaded, or behind its stored messages; past it, `resource-constraint`.
    package var parkedMax = 1_000
    /// The same in bytes.
    package var parkedBytesMax = 4 * 1024 * 1024
    package var vCardBytesMax = 128 * 1024
    /// All elements of an account's private storage together (XEP-0049), in bytes.
    package var privateBytesMax = 64 * 1024
    /// Elements of private storage per account.
    package var privateElementsMax = 100
    /// Devices of an account that are told of messages while they are away (XEP-0357); past it, the one that registered first gives way.
    package var pushRegistrationsMax = 10
    package var messagesTo: MessageTargets = .mostAvailable
    package var resourceConflict: ResourceConflict = .replaceOld
    package init() {}
}

/// Who gets a message to a bare JID when several sessions could (RFC 6121 §8.5.2.1.1).
package enum MessageTargets: String, Hashable, Sendable { case mostAvailable = "most-available", all }

/// What happens to a session whose resource another asks for (RFC 6120 §7.7.2.2).
package enum ResourceConflict: String, Hashable, Sendable { case replaceOld = "replace-old", refuseNew = "refuse-new" }

/// The domains of this server. Frozen; a reload makes a new one and hands it to every loop.
package final class HostTable: Sendable {
    private let byDomain: [String: Host]
    /// The same, if they are few: comparing a handful of names takes less than making a string of one and hashing it.
    private let few: [Host]
    private static let fewMax = 8
    /// The domains of services, which have no accounts.
    private let services: [String: Host]
    /// Those of them that have the domains below their own.
    private let wideServices: [String: Host]
    /// The domains with accounts at the presence of whose contacts somebody looks on.
    let watched: [Host]
    /// What the features of each domain announce to those who have logged in, as bytes: a digest over all that a domain supports is among it. Of
    /// domains only that do everything themselves: what a component does there comes and goes with it.
    private let streamFeatures: [String: ByteBuffer]

    package init(_ all: [Host]) {
        let hosts = all.filter { $0.service == nil }
        services = Dictionary(all.filter { $0.service != nil }.map { ($0.domain.domainpart, $0) }, uniquingKeysWith: { first, _ in first })
        watched = hosts.filter { $0.watching?.hearsContacts ?? false }
        wideServices = services.filter(\.value.servesSubdomains)
        byDomain = Dictionary(hosts.map { ($0.domain.domainpart, $0) }, uniquingKeysWith: { first, _ in first })
        few = byDomain.count <= Self.fewMax ? Array(byDomain.values) : []
        streamFeatures = byDomain.filter { $0.value.delegating == nil }.mapValues { host in
            var writer = XMLWriter()
            Self.writeStreamFeatures(of: host, to: &writer)
            return writer.buffer
        }
    }

    private static func writeStreamFeatures(of host: Host, to writer: inout XMLWriter) {
        for case let feature as any StreamFeatureProvider in host.features { feature.writeStreamFeatures(to: &writer, of: host) }
    }

    /// Writes what the domain of an account announces in stream features, in the content namespace.
    package func writeStreamFeatures(for account: BareJID, to writer: inout XMLWriter) {
        if let features = streamFeatures[account.domainpart] { return writer.raw(features) }
        if let host = byDomain[account.domainpart] { Self.writeStreamFeatures(of: host, to: &writer) }
    }

    /// The domains that have accounts.
    package var hosts: some Collection<Host> { byDomain.values }
    package var serviceHosts: some Collection<Host> { services.values }
    /// The domain of a service.
    package func service(of address: BareJID) -> Host? {
        if services.isEmpty { return nil }
        let domain = address.domainpart
        if let host = services[domain] { return host }
        return wideServices.isEmpty || byDomain[domain] != nil ? nil : wideService(above: domain)
    }

    private func wideService(above domain: String) -> Host? {
        var rest = Substring(domain)
        while let dot = rest.firstIndex(of: ".") {
            rest = rest[rest.index(after: dot)...]
            if let host = wideServices[String(rest)] { return host }
        }
        return nil
    }
    /// Whether the address is this server's to speak for.
    package func isOurs(_ address: BareJID) -> Bool { host(of: address) != nil || service(of: address) != nil }
    package func host(ofDomain domain: String) -> Host? { byDomain[domain] }
    package func host(of address: BareJID) -> Host? {
        for host in few where host.domain.isInDomain(of: address) { return host }
        return few.isEmpty ? byDomain[address.domainpart] : nil
    }
}
