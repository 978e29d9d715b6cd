package import MartletCore
import MartletFeatures
import MartletXMPP

/// Makes of the configuration what the domains do with stanzas.
struct HostAssembly {
    let configuration: ServerConfiguration
    let time: any TimeSource
    let uptime: Uptime
    let audit: any AuditSink

    func table() throws(CommandFailure) -> HostTable {
        var hosts: [Host] = []
        for domain in configuration.domains { hosts.append(try host(domain)) }
        return HostTable(hosts)
    }

    private func host(_ domain: ServerConfiguration.Domain) throws(CommandFailure) -> Host {
        guard let address = try? BareJID(parsing: domain.name), address.isDomain else {
            throw CommandFailure(.configuration, "\(domain.name) is not a domain")
        }
        let features = FeatureConfiguration(
            softwareVersion: MartletVersion.current, contacts: contacts(domain.contacts), archiveDefault: archiveDefault,
            push: PushContent(includesSender: configuration.push.includesSender, includesBody: configuration.push.includesBody), time: time, uptime: uptime)
        do throws(RouteConflict) {
            return try Host(
                domain: address, limits: HostLimits(configuration), policy: policy(of: domain.name), features: StandardFeatures.all(features))
        } catch {
            throw CommandFailure(.software, "two features answer \(error.local) in \(error.namespace)")
        }
    }

    private var archiveDefault: ArchivePreferences.Default? {
        guard configuration.archive.isEnabled else { return nil }
        return switch configuration.archive.keeps {
        case .always: .always
        case .roster: .roster
        case .never: .never
        }
    }

    private func policy(of domain: String) -> AccessPolicy {
        AccessPolicy(admins: Set(configuration.admins(of: domain).compactMap { try? BareJID(parsing: $0) }), audit: audit)
    }

    private func contacts(_ contacts: ServerConfiguration.Contacts) -> ContactAddresses.Addresses {
        var addresses = ContactAddresses.Addresses()
        addresses.abuse = contacts.abuse
        addresses.admin = contacts.admin
        addresses.feedback = contacts.feedback
        addresses.sales = contacts.sales
        addresses.security = contacts.security
        addresses.status = contacts.status
        addresses.support = contacts.support
        return addresses
    }
}

extension HostLimits {
    package init(_ configuration: ServerConfiguration) {
        self.init()
        sessionsMax = configuration.limits.sessionsPerAccountMax
        rosterItemsMax = configuration.limits.rosterItemsMax
        blockedMax = configuration.limits.blockedAddressesMax
        offlineMessagesMax = configuration.messages.offline ? configuration.limits.offlineMessagesMax : 0
        offlineBytesMax = configuration.limits.offlineBytesMax
        parkedMax = configuration.limits.parkedStanzasMax
        parkedBytesMax = configuration.limits.parkedBytesMax
        vCardBytesMax = configuration.limits.vCardBytesMax
        privateBytesMax = configuration.limits.privateStorageBytesMax
        pushRegistrationsMax = configuration.limits.pushRegistrationsMax
        resourceConflict = configuration.limits.resourceConflict == .replaceOld ? .replaceOld : .refuseNew
    }
}
