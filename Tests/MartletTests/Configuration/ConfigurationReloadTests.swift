import MartletCore
import MartletDirectory
import Testing

import martlet

/// One key with another value than the example has, and where a reload carries it.
struct KeyChange: Sendable, CustomTestStringConvertible {
    /// What decides by the value while the server runs.
    enum Place: Sendable {
        /// What connections obey, those that come after the reload.
        case connections
        /// What the domains do with stanzas.
        case hosts
        /// How streams with other servers are made from then on.
        case federation
        /// Read where it is needed, from the configuration in force: certificates, contacts, the log's level, commands, the stop.
        case configuration
        /// Nothing before the next start.
        case restart
    }

    let path: String
    let place: Place
    let change: @Sendable (inout ServerConfiguration) -> Void

    init(_ path: String, _ place: Place, _ change: @escaping @Sendable (inout ServerConfiguration) -> Void) {
        self.path = path
        self.place = place
        self.change = change
    }

    var testDescription: String { path }
}

@Suite("a reload applies what it says, and only that")
struct ConfigurationReloadTests {
    static let changes = [
        KeyChange("server.data", .restart) { $0.server.dataFolder = "/srv" },
        KeyChange("server.control-socket", .restart) { $0.server.controlSocket = "/run/martlet.sock" },
        KeyChange("server.event-loops", .restart) { $0.server.eventLoops = 3 },
        KeyChange("server.run-as-root", .restart) { $0.server.runAsRoot = true },
        KeyChange("server.stop-timeout", .configuration) { $0.server.stopTimeout = .seconds(77) },
        KeyChange("configuration-directory.base", .restart) { $0.configurationDirectory.base = "cn=other" },
        KeyChange("configuration-directory.node", .restart) { $0.configurationDirectory.node = "chat2" },
        KeyChange("configuration-directory.servers", .restart) { $0.configurationDirectory.servers = ["ldaps://other.example.org"] },
        KeyChange("configuration-directory.start-tls", .restart) { $0.configurationDirectory.startTLS = .off },
        KeyChange("configuration-directory.trust-anchors", .restart) { $0.configurationDirectory.trustAnchors = "/other.pem" },
        KeyChange("configuration-directory.certificate", .restart) { $0.configurationDirectory.certificate = "/other.pem" },
        KeyChange("configuration-directory.key", .restart) { $0.configurationDirectory.key = "/other.key" },
        KeyChange("configuration-directory.log-in.mechanism", .restart) { $0.configurationDirectory.logIn.mechanism = .external },
        KeyChange("configuration-directory.log-in.name", .restart) { $0.configurationDirectory.logIn.name = "cn=other" },
        KeyChange("configuration-directory.log-in.password-file", .restart) { $0.configurationDirectory.logIn.passwordFile = "/other.password" },
        KeyChange("configuration-directory.connect-timeout", .restart) { $0.configurationDirectory.connectTimeout = .seconds(7) },
        KeyChange("configuration-directory.operation-timeout", .restart) { $0.configurationDirectory.operationTimeout = .seconds(7) },
        KeyChange("configuration-directory.follow", .restart) { $0.configurationDirectory.following = .poll },
        KeyChange("domains.name", .configuration) { $0.domains[0].name = "example.net" },
        KeyChange("domains.certificate", .configuration) { $0.domains[0].certificate = "/other.pem" },
        KeyChange("domains.key", .configuration) { $0.domains[0].key = "/other.key" },
        KeyChange("domains.second-certificate", .configuration) { $0.domains[0].secondCertificate = "/other.rsa.pem" },
        KeyChange("domains.second-key", .configuration) { $0.domains[0].secondKey = "/other.rsa.key" },
        KeyChange("domains.client-certificates", .configuration) { $0.domains[0].clientCertificates = .request },
        KeyChange("domains.kerberos-realms", .configuration) { $0.domains[0].kerberosRealms = ["EXAMPLE.ORG"] },
        KeyChange("domains.admins", .configuration) { $0.domains[0].admins = ["a@example.org"] },
        KeyChange("domains.people-page", .connections) { $0.domains[0].peoplePage = .organisation },
        KeyChange("domains.presence.default-visibility", .configuration) { $0.domains[0].presence.defaultVisibility = .organisation },
        KeyChange("domains.presence.rules.viewers", .configuration) { $0.domains[0].presence.rules[0].viewers = [.group("operators")] },
        KeyChange("domains.presence.rules.targets", .configuration) { $0.domains[0].presence.rules[0].targets = [.group("operators")] },
        KeyChange("domains.presence.rules.level", .configuration) { $0.domains[0].presence.rules[0].level = .full },
        KeyChange("domains.contacts.abuse", .configuration) { $0.domains[0].contacts.abuse = ["mailto:a@example.org"] },
        KeyChange("domains.contacts.admin", .configuration) { $0.domains[0].contacts.admin = ["mailto:a@example.org"] },
        KeyChange("domains.contacts.feedback", .configuration) { $0.domains[0].contacts.feedback = ["mailto:a@example.org"] },
        KeyChange("domains.contacts.sales", .configuration) { $0.domains[0].contacts.sales = ["mailto:a@example.org"] },
        KeyChange("domains.contacts.security", .configuration) { $0.domains[0].contacts.security = ["mailto:a@example.org"] },
        KeyChange("domains.contacts.status", .configuration) { $0.domains[0].contacts.status = ["https://example.org"] },
        KeyChange("domains.contacts.outage", .configuration) { $0.domains[0].contacts.outage = ["https://status.example.net/outage.json"] },
        KeyChange("domains.data-policy.terms", .configuration) { $0.domains[0].dataPolicy.terms = "https://example.org/terms" },
        KeyChange("domains.data-policy.access", .configuration) { $0.domains[0].dataPolicy.access = [.admins] },
        KeyChange("domains.data-policy.encrypted-at-rest", .configuration) { $0.domains[0].dataPolicy.isEncryptedAtRest = true },
        KeyChange("domains.data-policy.backup-interval", .configuration) { $0.domains[0].dataPolicy.backupInterval = .seconds(86_400) },
        KeyChange("domains.data-policy.backup-retention", .configuration) { $0.domains[0].dataPolicy.backupRetention = .seconds(86_400) },
        KeyChange("domains.shared-groups.name", .configuration) { $0.domains[0].sharedGroups[0].name = "Market" },
        KeyChange("domains.shared-groups.members", .configuration) { $0.domains[0].sharedGroups[0].members = [.everybody] },
        KeyChange("domains.shared-groups.share", .configuration) { $0.domains[0].sharedGroups[0].share = .all },
        KeyChange("domains.shared-groups.visible-to", .configuration) { $0.domains[0].sharedGroups[0].visibleTo = ["Theatre"] },
        KeyChange("domains.contacts.support", .configuration) { $0.domains[0].contacts.support = ["mailto:a@example.org"] },
        KeyChange("login-groups.name", .connections) { $0.loginGroups[0].name = "others" },
        KeyChange("login-groups.accounts", .connections) { $0.loginGroups[0].accounts = ["a@example.org"] },
        KeyChange("login-rules.name", .configuration) { $0.loginRules[0].name = "other" },
        KeyChange("login-rules.domains", .connections) { $0.loginRules[0].domains = ["example.org"] },
        KeyChange("login-rules.accounts", .connections) { $0.loginRules[0].accounts = ["a@example.org"] },
        KeyChange("login-rules.groups", .connections) { $0.loginRules[0].groups = ["operators"] },
        KeyChange("login-rules.networks", .connections) { $0.loginRules[0].networks = [AddressBlock("192.0.2.0/24")].compactMap(\.self) },
        KeyChange("login-rules.listeners", .connections) { $0.loginRules[0].listeners = [ListenerName("client 5222")].compactMap(\.self) },
        KeyChange("login-rules.mechanisms", .connections) { $0.loginRules[0].mechanisms = [.plain] },
        KeyChange("login-rules.strong", .connections) { $0.loginRules[0].isStrong.toggle() },
        KeyChange("login-rules.require-channel-binding", .connections) { $0.loginRules[0].needsChannelBinding.toggle() },
        KeyChange("client-certificates.trust-anchors", .configuration) { $0.clientCertificates.trustAnchors = "/people.pem" },
        KeyChange("client-certificates.authorities", .configuration) { $0.clientCertificates.authorities = "/issuing.pem" },
        KeyChange("client-certificates.policies", .configuration) { $0.clientCertificates.policies = ["1.2.3"] },
        KeyChange("client-certificates.mapping", .configuration) { $0.clientCertificates.mapping = [.upn] },
        KeyChange("client-certificates.mail-authorities", .configuration) { $0.clientCertificates.mailAuthorities = "/mail.pem" },
        KeyChange("client-certificates.subject", .configuration) { $0.clientCertificates.subject = "UID={localpart}" },
        KeyChange("client-certificates.published", .configuration) { $0.clientCertificates.published = "/people" },
        KeyChange("client-certificates.require-published", .configuration) { $0.clientCertificates.needsPublished.toggle() },
        KeyChange("client-certificates.user-managed", .configuration) { $0.clientCertificates.isUserManaged.toggle() },
        KeyChange("client-certificates.revocation.mode", .configuration) { $0.clientCertificates.revocation.mode = .require },
        KeyChange("client-certificates.revocation.lists", .configuration) { $0.clientCertificates.revocation.lists = ["/lists"] },
        KeyChange("client-certificates.revocation.fetch-hosts", .configuration) { $0.clientCertificates.revocation.fetchHosts = ["crl.example"] },
        KeyChange("kerberos.keytab", .configuration) { $0.kerberos.keytab = "/other.keytab" },
        KeyChange("kerberos.service", .configuration) { $0.kerberos.service = "host" },
        KeyChange("kerberos.hostname", .configuration) { $0.kerberos.hostname = "chat.example.org" },
        KeyChange("listeners.kind", .restart) { $0.listeners[0].kind = .clientTLS },
        KeyChange("listeners.port", .restart) { $0.listeners[0].port = 15_222 },
        KeyChange("listeners.addresses", .restart) { $0.listeners[0].addresses = [.loopbackIPv4] },
        KeyChange("listeners.proxy-sources", .restart) { $0.listeners[0].proxySources = [AddressBlock("10.0.0.0/8")].compactMap(\.self) },
        KeyChange("listeners.plaintext-authentication", .restart) { $0.listeners[0].plaintextAuthentication = true },
        KeyChange("listeners.tls-profile", .restart) { $0.listeners[0].tlsProfile = .modern },
        KeyChange("limits.stanza-bytes", .connections) { $0.limits.stanzaBytesMax += 1 },
        KeyChange("limits.stanza-bytes-before-authentication", .connections) { $0.limits.stanzaBytesBeforeAuthenticationMax += 1 },
        KeyChange("limits.stanza-depth", .connections) { $0.limits.stanzaDepthMax += 1 },
        KeyChange("limits.stanza-elements", .connections) { $0.limits.stanzaElementsMax += 1 },
        KeyChange("limits.element-attributes", .connections) { $0.limits.elementAttributesMax += 1 },
        KeyChange("limits.stanza-bytes-per-second", .connections) { $0.limits.stanzaBytesPerSecond = nil },
        KeyChange("limits.stanza-bytes-burst", .connections) { $0.limits.stanzaBytesBurst += 1 },
        KeyChange("limits.streams-per-address", .connections) { $0.limits.streamsPerAddressMax += 1 },
        KeyChange("limits.unauthenticated-streams", .connections) { $0.limits.unauthenticatedStreamsMax += 1 },
        KeyChange("limits.unauthenticated-bytes", .connections) { $0.limits.unauthenticatedBytesMax += 1 },
        KeyChange("limits.login-deadline", .connections) { $0.limits.loginDeadline = .seconds(77) },
        KeyChange("limits.sessions-per-account", .hosts) { $0.limits.sessionsPerAccountMax += 1 },
        KeyChange("limits.resource-conflict", .hosts) { $0.limits.resourceConflict = .refuseNew },
        KeyChange("limits.session-queue-bytes", .restart) { $0.limits.sessionQueueBytesMax += 1 },
        KeyChange("limits.resumption-timeout", .restart) { $0.limits.resumptionTimeout = .seconds(7) },
        KeyChange("limits.unacknowledged-stanzas", .restart) { $0.limits.unacknowledgedStanzasMax += 1 },
        KeyChange("limits.unacknowledged-bytes", .restart) { $0.limits.unacknowledgedBytesMax += 1 },
        KeyChange("limits.held-stanzas", .restart) { $0.limits.heldStanzasMax += 1 },
        KeyChange("limits.held-bytes", .restart) { $0.limits.heldBytesMax += 1 },
        KeyChange("limits.parked-stanzas", .hosts) { $0.limits.parkedStanzasMax += 1 },
        KeyChange("limits.parked-bytes", .hosts) { $0.limits.parkedBytesMax += 1 },
        KeyChange("limits.roster-items", .hosts) { $0.limits.rosterItemsMax += 1 },
        KeyChange("limits.shared-roster-items", .hosts) { $0.limits.sharedRosterItemsMax += 1 },
        KeyChange("limits.offline-messages", .hosts) { $0.limits.offlineMessagesMax += 1 },
        KeyChange("limits.offline-bytes", .hosts) { $0.limits.offlineBytesMax += 1 },
        KeyChange("limits.blocked-addresses", .hosts) { $0.limits.blockedAddressesMax += 1 },
        KeyChange("limits.vcard-bytes", .hosts) { $0.limits.vCardBytesMax += 1 },
        KeyChange("limits.private-storage-bytes", .hosts) { $0.limits.privateStorageBytesMax += 1 },
        KeyChange("limits.push-registrations", .hosts) { $0.limits.pushRegistrationsMax += 1 },
        KeyChange("idle.ping-after", .connections) { $0.idle.pingAfter = nil },
        KeyChange("idle.ping-timeout", .connections) { $0.idle.pingTimeout = .seconds(77) },
        KeyChange("idle.tcp-user-timeout", .connections) { $0.idle.tcpUserTimeout = nil },
        KeyChange("authentication.mechanisms", .connections) { $0.authentication.mechanisms = [.scramSHA256] },
        KeyChange("authentication.upgrades", .connections) { $0.authentication.upgrades = [] },
        KeyChange("authentication.channel-binding", .connections) { $0.authentication.channelBinding.toggle() },
        KeyChange("authentication.scram-iterations", .configuration) { $0.authentication.scramIterations += 1 },
        KeyChange("authentication.tries-per-stream", .connections) { $0.authentication.triesPerStreamMax += 1 },
        KeyChange("authentication.failures-per-address", .connections) { $0.authentication.failuresPerAddressMax += 1 },
        KeyChange("authentication.failure-recovery-per-address", .connections) { $0.authentication.failureRecoveryPerAddress = .seconds(77) },
        KeyChange("authentication.failures-per-account", .connections) { $0.authentication.failuresPerAccountMax += 1 },
        KeyChange("authentication.failure-recovery-per-account", .connections) { $0.authentication.failureRecoveryPerAccount = .seconds(77) },
        KeyChange("authentication.password-hashes", .restart) { $0.authentication.concurrentPasswordHashesMax += 1 },
        KeyChange("authentication.password-hash-queue", .restart) { $0.authentication.queuedPasswordHashesMax += 1 },
        KeyChange("storage.synchronous", .restart) { $0.storage.synchronous = .normal },
        KeyChange("storage.reserve", .restart) { $0.storage.reserveBytes = nil },
        KeyChange("storage.free-space-warning", .configuration) { $0.storage.freeSpaceWarning = nil },
        KeyChange("archive.enabled", .configuration) { $0.archive.isEnabled.toggle() },
        KeyChange("archive.default", .configuration) { $0.archive.keeps = .roster },
        KeyChange("archive.messages-max", .restart) { $0.archive.messagesMax += 1 },
        KeyChange("archive.bytes-max", .restart) { $0.archive.bytesMax += 1 },
        KeyChange("archive.retention", .configuration) { $0.archive.retention = .seconds(86_400) },
        KeyChange("storage.readers", .restart) { $0.storage.readers += 1 },
        KeyChange("messages.offline", .hosts) { $0.messages.offline.toggle() },
        KeyChange("devices.names", .restart) { $0.devices.keepsNames.toggle() },
        KeyChange("devices.token-lifetime", .connections) { $0.devices.tokenLifetime = .seconds(86_400) },
        KeyChange("devices.retention", .configuration) { $0.devices.retention = .seconds(86_400) },
        KeyChange("push.include-sender", .configuration) { $0.push.includesSender.toggle() },
        KeyChange("push.include-body", .configuration) { $0.push.includesBody.toggle() },
        KeyChange("rooms.enabled", .configuration) { $0.rooms.isEnabled.toggle() },
        KeyChange("rooms.subdomain", .configuration) { $0.rooms.subdomain = "rooms" },
        KeyChange("rooms.creation", .configuration) { $0.rooms.creation = .nobody },
        KeyChange("rooms.occupants-max", .configuration) { $0.rooms.occupantsMax += 1 },
        KeyChange("rooms.affiliations-max", .configuration) { $0.rooms.affiliationsMax += 1 },
        KeyChange("rooms.history-max", .configuration) { $0.rooms.historyMax += 1 },
        KeyChange("rooms.history-bytes", .configuration) { $0.rooms.historyBytesMax += 1 },
        KeyChange("rooms.ping-after", .configuration) { $0.rooms.pingAfter = .zero },
        KeyChange("rooms.per-account-max", .configuration) { $0.rooms.perAccountMax += 1 },
        KeyChange("rooms.archive", .configuration) { $0.rooms.archiving = .never },
        KeyChange("rooms.standard.persistent", .configuration) { $0.rooms.standard.isPersistent.toggle() },
        KeyChange("rooms.standard.public", .configuration) { $0.rooms.standard.isPublic.toggle() },
        KeyChange("rooms.standard.members-only", .configuration) { $0.rooms.standard.isMembersOnly.toggle() },
        KeyChange("rooms.standard.moderated", .configuration) { $0.rooms.standard.isModerated.toggle() },
        KeyChange("rooms.standard.show-addresses", .configuration) { $0.rooms.standard.showsAddresses.toggle() },
        KeyChange("rooms.standard.archive", .configuration) { $0.rooms.standard.isArchived.toggle() },
        KeyChange("rooms.standard.occupants", .configuration) { $0.rooms.standard.occupantsMax += 1 },
        KeyChange("rooms.standard.history", .configuration) { $0.rooms.standard.historyLength += 1 },
        KeyChange("external-services.address", .configuration) { $0.externalServices[0].address = HostAndPort("turn.example.net:3478") },
        KeyChange("external-services.type", .configuration) { $0.externalServices[0].type = .turns },
        KeyChange("external-services.transport", .configuration) { $0.externalServices[0].transport = .tcp },
        KeyChange("external-services.secret-file", .configuration) { $0.externalServices[0].secretFile = "/turn.secret" },
        KeyChange("external-services.lifetime", .configuration) { $0.externalServices[0].lifetime = .seconds(60) },
        KeyChange("accounts.registration", .configuration) { $0.accounts.registration = .open },
        KeyChange("accounts.requests-per-network", .connections) { $0.accounts.requestsPerNetworkMax += 1 },
        KeyChange("accounts.requests", .connections) { $0.accounts.requestsMax += 1 },
        KeyChange("accounts.reserved-names", .configuration) { $0.accounts.reservedNames = ["juliet"] },
        KeyChange("accounts.password-change", .configuration) { $0.accounts.changesPasswords.toggle() },
        KeyChange("accounts.removal", .configuration) { $0.accounts.removesAccounts.toggle() },
        KeyChange("accounts.password-length", .configuration) { $0.accounts.passwordLengthMin += 1 },
        KeyChange("accounts.refused-passwords", .configuration) { $0.accounts.refusedPasswords = "/etc/martlet/passwords" },
        KeyChange("accounts.password-lifetime", .configuration) { $0.accounts.passwordLifetime = .seconds(86_400) },
        KeyChange("accounts.password-warning", .configuration) { $0.accounts.passwordWarning = .seconds(86_400) },
        KeyChange("accounts.invitations.users", .configuration) { $0.accounts.invitations.users.toggle() },
        KeyChange("accounts.invitations.lifetime", .configuration) { $0.accounts.invitations.lifetime = .seconds(7200) },
        KeyChange("accounts.invitations.per-account", .configuration) { $0.accounts.invitations.perAccountMax += 1 },
        KeyChange("components.name", .configuration) { $0.components[0].name = "sms.example.org" },
        KeyChange("components.secret-file", .configuration) { $0.components[0].secretFile = "/sms.secret" },
        KeyChange("components.domain", .configuration) { $0.components[0].domain = "example.org" },
        KeyChange("components.subdomains", .configuration) { $0.components[0].servesSubdomains.toggle() },
        KeyChange("components.managed-domains", .configuration) { $0.components[0].managedDomains = ["example.org"] },
        KeyChange("components.privileges.roster", .configuration) { $0.components[0].privileges.roster = .both },
        KeyChange("components.privileges.roster-push", .configuration) { $0.components[0].privileges.rosterPushes.toggle() },
        KeyChange("components.privileges.message", .configuration) { $0.components[0].privileges.message = .outgoing },
        KeyChange("components.privileges.presence", .configuration) { $0.components[0].privileges.presence = .managedEntity },
        KeyChange("components.privileges.iq-get", .configuration) { $0.components[0].privileges.get = ["a:b"] },
        KeyChange("components.privileges.iq-set", .configuration) { $0.components[0].privileges.set = ["a:b"] },
        KeyChange("components.delegations", .configuration) { $0.components[0].delegations = [DelegatedNamespace("a:b node")].compactMap(\.self) },
        KeyChange("bytestreams.enabled", .restart) { $0.bytestreams.isEnabled.toggle() },
        KeyChange("bytestreams.subdomain", .restart) { $0.bytestreams.subdomain = "files" },
        KeyChange("bytestreams.port", .restart) { $0.bytestreams.port += 1 },
        KeyChange("bytestreams.addresses", .restart) { $0.bytestreams.addresses = [.loopbackIPv4] },
        KeyChange("bytestreams.host", .configuration) { $0.bytestreams.host = "files.example.org" },
        KeyChange("bytestreams.streams-per-account", .restart) { $0.bytestreams.streamsPerAccountMax += 1 },
        KeyChange("bytestreams.streams", .restart) { $0.bytestreams.streamsMax += 1 },
        KeyChange("pubsub.account-nodes", .configuration) { $0.pubsub.accountNodesMax += 1 },
        KeyChange("pubsub.account-items", .configuration) { $0.pubsub.accountItemsMax += 1 },
        KeyChange("pubsub.account-bytes", .configuration) { $0.pubsub.accountBytesMax += 1 },
        KeyChange("pubsub.item-bytes", .configuration) { $0.pubsub.itemBytesMax += 1 },
        KeyChange("pubsub.service.enabled", .configuration) { $0.pubsub.service.isEnabled.toggle() },
        KeyChange("pubsub.service.subdomain", .configuration) { $0.pubsub.service.subdomain = "nodes" },
        KeyChange("pubsub.service.creation", .configuration) { $0.pubsub.service.creation = .admins },
        KeyChange("pubsub.service.server-info", .configuration) { $0.pubsub.service.publishesServerInformation.toggle() },
        KeyChange("pubsub.service.nodes", .configuration) { $0.pubsub.service.nodesMax += 1 },
        KeyChange("pubsub.service.items", .configuration) { $0.pubsub.service.itemsMax += 1 },
        KeyChange("pubsub.service.bytes", .configuration) { $0.pubsub.service.bytesMax += 1 },
        KeyChange("uploads.enabled", .configuration) { $0.uploads.isEnabled.toggle() },
        KeyChange("uploads.subdomain", .configuration) { $0.uploads.subdomain = "files" },
        KeyChange("uploads.folder", .restart) { $0.uploads.folder = "files" },
        KeyChange("uploads.store", .restart) { $0.uploads.store = .s3 },
        KeyChange("uploads.s3.endpoint", .restart) { $0.uploads.s3.endpoint = "https://s3.example.net" },
        KeyChange("uploads.s3.bucket", .restart) { $0.uploads.s3.bucket = "other" },
        KeyChange("uploads.s3.region", .restart) { $0.uploads.s3.region = "eu-central-1" },
        KeyChange("uploads.s3.access-key", .restart) { $0.uploads.s3.accessKey = "OTHER" },
        KeyChange("uploads.s3.secret-key-file", .restart) { $0.uploads.s3.secretKeyFile = "/other.secret" },
        KeyChange("uploads.s3.path-style", .restart) { $0.uploads.s3.pathStyle.toggle() },
        KeyChange("uploads.s3.prefix", .restart) { $0.uploads.s3.prefix = "other" },
        KeyChange("uploads.s3.trust-anchors", .restart) { $0.uploads.s3.trustAnchors = "/other.pem" },
        KeyChange("uploads.s3.timeout", .restart) { $0.uploads.s3.timeout = .seconds(7) },
        KeyChange("uploads.file-bytes", .configuration) { $0.uploads.fileBytesMax += 1 },
        KeyChange("uploads.account-bytes", .configuration) { $0.uploads.accountBytesMax += 1 },
        KeyChange("uploads.account-files", .configuration) { $0.uploads.accountFilesMax += 1 },
        KeyChange("uploads.account-bytes-per-day", .configuration) { $0.uploads.accountDayBytesMax += 1 },
        KeyChange("uploads.domain-bytes", .configuration) { $0.uploads.domainBytesMax += 1 },
        KeyChange("uploads.domain-bytes-per-day", .configuration) { $0.uploads.domainDayBytesMax += 1 },
        KeyChange("uploads.types", .configuration) { $0.uploads.types = ["image/*"] },
        KeyChange("uploads.slot-lifetime", .configuration) { $0.uploads.slotLifetime = .seconds(60) },
        KeyChange("uploads.account-transfers", .configuration) { $0.uploads.accountTransfersMax += 1 },
        KeyChange("uploads.retention.message", .configuration) { $0.uploads.retention.message = .seconds(60) },
        KeyChange("uploads.retention.profile", .configuration) { $0.uploads.retention.profile = .seconds(60) },
        KeyChange("uploads.retention.ephemeral", .configuration) { $0.uploads.retention.ephemeral = .seconds(60) },
        KeyChange("block-lists.service", .configuration) { $0.blockLists[0].service = "other.example.net" },
        KeyChange("block-lists.node", .configuration) { $0.blockLists[0].node = "spam" },
        KeyChange("search.enabled", .configuration) { $0.search.isEnabled.toggle() },
        KeyChange("search.subdomain", .configuration) { $0.search.subdomain = "people" },
        KeyChange("search.who", .configuration) { $0.search.finds = .all },
        KeyChange("search.by", .configuration) { $0.search.askers = .server },
        KeyChange("search.results", .configuration) { $0.search.resultsMax += 1 },
        KeyChange("search.per-minute", .configuration) { $0.search.perMinuteMax += 1 },
        KeyChange("uploads.retention.permanent", .configuration) { $0.uploads.retention.permanent = .seconds(60) },
        KeyChange("log.level", .configuration) { $0.log.level = .debug },
        KeyChange("federation.enabled", .restart) { $0.federation.isEnabled.toggle() },
        KeyChange("federation.closed", .federation) { $0.federation.isClosed.toggle() },
        KeyChange("federation.blocked", .federation) { $0.federation.blocked = ["spam.example"] },
        KeyChange("federation.encryption", .federation) { $0.federation.encryption = .optional },
        KeyChange("federation.authentication", .federation) { $0.federation.authentication = .dialback },
        KeyChange("federation.bidirectional", .federation) { $0.federation.bidirection = .ask },
        KeyChange("federation.tls-profile", .federation) { $0.federation.tlsProfile = .strict },
        KeyChange("federation.trust-anchors", .restart) { $0.federation.trustAnchors = "/anchors.pem" },
        KeyChange("federation.revocation.mode", .federation) { $0.federation.revocation.mode = .require },
        KeyChange("federation.revocation.lists", .configuration) { $0.federation.revocation.lists = ["/lists"] },
        KeyChange("federation.revocation.fetch-hosts", .federation) { $0.federation.revocation.fetchHosts = ["crl.example"] },
        KeyChange("federation.posh", .federation) { $0.federation.asksWebServers.toggle() },
        KeyChange("federation.private-networks", .restart) { $0.federation.privateNetworks = [AddressBlock("10.0.0.0/8")].compactMap(\.self) },
        KeyChange("federation.name-servers", .restart) { $0.federation.nameServers = [NameServer("192.0.2.53")].compactMap(\.self) },
        KeyChange("federation.dnssec-anchor", .restart) { $0.federation.dnssecAnchor = "/root.key" },
        KeyChange("federation.connect-timeout", .federation) { $0.federation.connectTimeout = .seconds(77) },
        KeyChange("federation.negotiation-deadline", .federation) { $0.federation.negotiationDeadline = .seconds(77) },
        KeyChange("federation.idle-timeout", .federation) { $0.federation.idleTimeout = .seconds(77) },
        KeyChange("federation.retry-for", .federation) { $0.federation.retryFor += .seconds(1) },
        KeyChange("federation.stored-messages", .federation) { $0.federation.storedStanzasMax += 1 },
        KeyChange("federation.stored-bytes", .federation) { $0.federation.storedBytesMax += 1 },
        KeyChange("federation.queue-stanzas", .federation) { $0.federation.queueStanzasMax += 1 },
        KeyChange("federation.queue-bytes", .federation) { $0.federation.queueBytesMax += 1 },
        KeyChange("federation.queue-bytes-total", .federation) { $0.federation.queueBytesTotalMax += 1 },
        KeyChange("federation.calls", .restart) { $0.federation.callsMax += 1 },
        KeyChange("federation.streams-per-address", .federation) { $0.federation.streamsPerAddressMax += 1 },
        KeyChange("federation.unauthenticated-streams", .federation) { $0.federation.unauthenticatedStreamsMax += 1 },
        KeyChange("peers.domain", .federation) { $0.peers[0].domain = "other.example" },
        KeyChange("peers.addresses", .federation) { $0.peers[0].addresses = [HostAndPort("192.0.2.9:5269")].compactMap(\.self) },
        KeyChange("peers.tls", .federation) { $0.peers[0].tls = .direct },
        KeyChange("peers.encryption", .federation) { $0.peers[0].encryption = .optional },
        KeyChange("peers.authentication", .federation) { $0.peers[0].authentication = .dialback },
        KeyChange("peers.tls-profile", .federation) { $0.peers[0].tlsProfile = .modern },
        KeyChange("peers.pins", .federation) { $0.peers[0].pins = [PublicKeyPin(Self.pin)].compactMap(\.self) },
        KeyChange("peers.trust-anchors", .configuration) { $0.peers[0].trustAnchors = "/anchors.pem" },
        KeyChange("log.format", .restart) { $0.log.format = .json },
        KeyChange("log.destination", .restart) { $0.log.destination = .file("/var/log/martlet.log") },
        KeyChange("web.url", .connections) { $0.web.url = "https://chat.example.org" },
        KeyChange("web.addresses", .connections) { $0.web.addresses = [IPAddress("192.0.2.7")!] },
        KeyChange("people-page.session-lifetime", .connections) { $0.peoplePage.sessionLifetime = .seconds(3_600) },
        KeyChange("people-page.streams-per-network", .connections) { $0.peoplePage.streamsPerNetworkMax += 1 },
        KeyChange("people-page.streams", .connections) { $0.peoplePage.streamsMax += 1 },
        KeyChange("oauth.issuer", .configuration) { $0.oauth[0].issuer = "https://other.example" },
        KeyChange("oauth.domains", .configuration) { $0.oauth[0].domains = ["example.org"] },
        KeyChange("oauth.audience", .configuration) { $0.oauth[0].audience = "other" },
        KeyChange("oauth.discovery", .configuration) { $0.oauth[0].discovery = "https://other.example/about" },
        KeyChange("oauth.keys", .configuration) { $0.oauth[0].keys = "https://other.example/keys" },
        KeyChange("oauth.account-claim", .configuration) { $0.oauth[0].accountClaim = "sub" },
        KeyChange("oauth.scopes", .configuration) { $0.oauth[0].scopes = ["xmpp"] },
        KeyChange("oauth.clients", .configuration) { $0.oauth[0].clients = ["app"] },
        KeyChange("oauth.leeway", .configuration) { $0.oauth[0].leeway = .zero },
        KeyChange("oauth.introspection.url", .configuration) { $0.oauth[0].introspection.url = "https://other.example/ask" },
        KeyChange("oauth.introspection.client-id", .configuration) { $0.oauth[0].introspection.clientID = "other" },
        KeyChange("oauth.introspection.secret-file", .configuration) { $0.oauth[0].introspection.secretFile = "/other.secret" },
        KeyChange("oauth.introspection.remember", .configuration) { $0.oauth[0].introspection.rememberedFor = .zero },
        KeyChange("oauth.trust-anchors", .configuration) { $0.oauth[0].trustAnchors = "/other.pem" },
        KeyChange("oauth.end-sessions", .configuration) { $0.oauth[0].endsSessions.toggle() },
        KeyChange("oauth.device-tokens", .configuration) { $0.oauth[0].givesTokens.toggle() },
        KeyChange("directories.domain", .restart) { $0.directories[0].domain = "example.net" },
        KeyChange("directories.servers", .restart) { $0.directories[0].servers = ["ldaps://other.example.org"] },
        KeyChange("directories.start-tls", .restart) { $0.directories[0].startTLS = .off },
        KeyChange("directories.trust-anchors", .restart) { $0.directories[0].trustAnchors = "/other.pem" },
        KeyChange("directories.certificate", .restart) { $0.directories[0].certificate = "/other.pem" },
        KeyChange("directories.key", .restart) { $0.directories[0].key = "/other.key" },
        KeyChange("directories.log-in.mechanism", .restart) { $0.directories[0].logIn.mechanism = .external },
        KeyChange("directories.log-in.name", .restart) { $0.directories[0].logIn.name = "cn=other" },
        KeyChange("directories.log-in.password-file", .restart) { $0.directories[0].logIn.passwordFile = "/other.password" },
        KeyChange("directories.people.base", .restart) { $0.directories[0].people.base = "ou=other" },
        KeyChange("directories.people.filter", .restart) { $0.directories[0].people.filter = "(uid=*)" },
        KeyChange("directories.people.address", .restart) { $0.directories[0].people.address = ["mail"] },
        KeyChange("directories.groups.base", .restart) { $0.directories[0].groups.base = "ou=other" },
        KeyChange("directories.groups.filter", .restart) { $0.directories[0].groups.filter = "(cn=*)" },
        KeyChange("directories.groups.share", .restart) { $0.directories[0].groups.share = .all },
        KeyChange("directories.groups.shared.name", .restart) { $0.directories[0].groups.shared[0].name = "cn=other" },
        KeyChange("directories.groups.shared.title", .restart) { $0.directories[0].groups.shared[0].title = "Other" },
        KeyChange("directories.groups.shared.share", .restart) { $0.directories[0].groups.shared[0].share = .all },
        KeyChange("directories.groups.shared.visible-to", .restart) { $0.directories[0].groups.shared[0].visibleTo = ["cn=other"] },
        KeyChange("directories.allow-group", .restart) { $0.directories[0].allowGroup = "cn=other" },
        KeyChange("directories.rosters.store", .restart) { $0.directories[0].rosters.store = .directory },
        KeyChange("directories.rosters.base", .restart) { $0.directories[0].rosters.base = "ou=rosters" },
        KeyChange("directories.rooms.room", .restart) { $0.directories[0].rooms[0].address = "b@conference.example.org" },
        KeyChange("directories.rooms.owners", .restart) { $0.directories[0].rooms[0].owners = "cn=other" },
        KeyChange("directories.rooms.admins", .restart) { $0.directories[0].rooms[0].admins = "cn=other" },
        KeyChange("directories.rooms.members", .restart) { $0.directories[0].rooms[0].members = "cn=other" },
        KeyChange("domains.admin-groups", .configuration) { $0.domains[0].adminGroups = ["cn=other"] },
        KeyChange("access.admin-groups", .configuration) { $0.access.adminGroups = ["cn=other"] },
        KeyChange("directories.passwords", .restart) { $0.directories[0].passwords = [.bind] },
        KeyChange("directories.hashes", .restart) { $0.directories[0].hashes = [.sha512] },
        KeyChange("directories.iterations", .restart) { $0.directories[0].iterations += 1 },
        KeyChange("directories.follow", .restart) { $0.directories[0].following = .poll },
        KeyChange("directories.connect-timeout", .restart) { $0.directories[0].connectTimeout = .seconds(7) },
        KeyChange("directories.operation-timeout", .restart) { $0.directories[0].operationTimeout = .seconds(7) },
        KeyChange("directories.stale-after", .restart) { $0.directories[0].staleAfter = .seconds(77) },
        KeyChange("directories.lock-duration", .restart) { $0.directories[0].lockDuration = .seconds(77) },
        KeyChange("directories.adopt-accounts", .restart) { $0.directories[0].adoptsAccounts.toggle() },
        KeyChange("directories.keep-gone", .restart) { $0.directories[0].keepsGone = .seconds(7_777) },
        KeyChange("directories.removals-max", .restart) { $0.directories[0].removalsMax = 7 },
        KeyChange("directories.password-change", .restart) { $0.directories[0].passwordChange = .proxied },
        KeyChange("directories.vcard.full-name", .restart) { $0.directories[0].vCard.fullName = .user },
        KeyChange("directories.vcard.name", .restart) { $0.directories[0].vCard.name = .user },
        KeyChange("directories.vcard.email", .restart) { $0.directories[0].vCard.email = .user },
        KeyChange("directories.vcard.telephone", .restart) { $0.directories[0].vCard.telephone = .user },
        KeyChange("directories.vcard.title", .restart) { $0.directories[0].vCard.title = .user },
        KeyChange("directories.vcard.role", .restart) { $0.directories[0].vCard.role = .user },
        KeyChange("directories.vcard.organization", .restart) { $0.directories[0].vCard.organization = .user },
        KeyChange("directories.vcard.address", .restart) { $0.directories[0].vCard.address = .user },
        KeyChange("directories.vcard.url", .restart) { $0.directories[0].vCard.url = .user },
        KeyChange("directories.vcard.note", .restart) { $0.directories[0].vCard.note = .user },
        KeyChange("directories.vcard.photo", .restart) { $0.directories[0].vCard.photo = .user },
        KeyChange("directories.vcard.writable", .restart) { $0.directories[0].vCard.writable = [.mobile] },
        KeyChange("directory-clients.directory", .restart) { $0.directoryClients.directory = "example.org" },
        KeyChange("directory-clients.domains", .restart) { $0.directoryClients.domains = ["example.org"] },
        KeyChange("directory-clients.base", .restart) { $0.directoryClients.base = "o=Other" },
        KeyChange("directory-clients.anonymous", .restart) { $0.directoryClients.allowsAnonymous.toggle() },
        KeyChange("directory-clients.decorations", .restart) { $0.directoryClients.decorations = [.init("labeledURI", .xmppURI)] },
        KeyChange("directory-clients.user-domain", .restart) { $0.directoryClients.userDomain = "OTHER" },
        KeyChange("directory-clients.connections", .restart) { $0.directoryClients.connectionsMax += 1 },
        KeyChange("directory-clients.connections-per-address", .restart) { $0.directoryClients.connectionsPerAddressMax += 1 },
        KeyChange("directory-clients.operations", .restart) { $0.directoryClients.operationsMax += 1 },
        KeyChange("directory-clients.idle-timeout", .restart) { $0.directoryClients.idleTimeout = .seconds(77) },
        KeyChange("acme.enabled", .restart) { $0.acme.isEnabled.toggle() },
        KeyChange("acme.directory", .configuration) { $0.acme.directory = "https://other.example/directory" },
        KeyChange("acme.domains", .configuration) { $0.acme.domains = ["example.org"] },
        KeyChange("acme.contacts", .configuration) { $0.acme.contacts = ["mailto:a@example.org"] },
        KeyChange("acme.terms-agreed", .configuration) { $0.acme.agreesToTerms.toggle() },
        KeyChange("acme.external-account.id", .configuration) { $0.acme.externalAccount.identifier = "other" },
        KeyChange("acme.external-account.key-file", .configuration) { $0.acme.externalAccount.keyFile = "/other.secret" },
        KeyChange("acme.keep-keys", .configuration) { $0.acme.keepsKeys.toggle() },
        KeyChange("acme.trust-anchors", .configuration) { $0.acme.trustAnchors = "/other.pem" },
        KeyChange("acme.port", .restart) { $0.acme.port = nil },
        KeyChange("acme.addresses", .restart) { $0.acme.addresses = [.loopbackIPv4] },
        KeyChange("metrics.address", .restart) { $0.metrics.address = .anyIPv4 },
        KeyChange("metrics.port", .restart) { $0.metrics.port = 9090 },
        KeyChange("access.admins", .configuration) { $0.access.admins = ["a@example.org"] },
    ]
    private static let pin = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    /// With one value only there is nothing to change.
    static let unchangeable: Set = ["storage.kind"]

    @Test("every key is here")
    func complete() {
        func paths(_ keys: [ConfigurationKey], _ prefix: String) -> [String] {
            keys.flatMap { key in
                switch key.form {
                case .value, .list: [prefix + key.name]
                case .section(let inner), .entries(let inner, _): paths(inner, prefix + key.name + ".")
                }
            }
        }
        #expect(Set(paths(ConfigurationSchema.keys, "")) == Set(Self.changes.map(\.path)).union(Self.unchangeable))
    }

    @Test("a value is applied by a reload, or reported as waiting for a restart and left alone", arguments: changes)
    func applied(_ key: KeyChange) {
        var old = ConfigurationDocuments.example
        var peer = ServerConfiguration.Peer()
        peer.domain = "example.net"
        peer.addresses = [HostAndPort("192.0.2.8:5269")].compactMap(\.self)
        old.peers = [peer]
        var relay = ServerConfiguration.ExternalService()
        relay.address = HostAndPort("turn.example.org:3478")
        old.externalServices = [relay]
        var component = ServerConfiguration.Component()
        component.name = "irc.example.org"
        component.secretFile = "/irc.secret"
        old.components = [component]
        var list = ServerConfiguration.BlockListSource()
        list.service = "pubsub.example.net"
        old.blockLists = [list]
        var group = ServerConfiguration.LoginGroup()
        group.name = "operators"
        old.loginGroups = [group]
        var shared = ServerConfiguration.SharedGroup()
        shared.name = "Theatre"
        shared.members = [.account("juliet@example.org")]
        old.domains[0].sharedGroups = [shared]
        var grant = ServerConfiguration.PresenceRule()
        (grant.viewers, grant.level) = ([.any], .basic)
        old.domains[0].presence.rules = [grant]
        var rule = ServerConfiguration.LoginRule()
        rule.name = "operators"
        old.loginRules = [rule]
        var issuer = ServerConfiguration.OAuthIssuer()
        issuer.issuer = "https://id.example.org"
        issuer.audience = "xmpp.example.org"
        issuer.accountClaim = "preferred_username"
        old.oauth = [issuer]
        var directory = ServerConfiguration.Directory()
        directory.domain = "example.org"
        directory.groups.shared = [ServerConfiguration.Directory.SharedGroup()]
        directory.rooms = [ServerConfiguration.Directory.Room()]
        old.directories = [directory]
        var new = old
        key.change(&new)
        let difference = ConfigurationDifference(from: old, to: new)
        let next = new.keepingWhatNeedsRestart(of: old)
        #expect(!difference.isEmpty)
        switch key.place {
        case .restart:
            #expect(difference.needsRestart && next == old)
        case .configuration:
            #expect(!difference.needsRestart && next == new)
        case .connections:
            #expect(!difference.needsRestart && next == new)
            #expect("\(NetworkAssembly(configuration: next).settings)" != "\(NetworkAssembly(configuration: old).settings)")
        case .federation:
            #expect(!difference.needsRestart && next == new)
            #expect(FederationAssembly(configuration: next).settings != FederationAssembly(configuration: old).settings)
        case .hosts:
            #expect(!difference.needsRestart && next == new)
            #expect("\(HostLimits(next))" != "\(HostLimits(old))")
        }
    }
}
