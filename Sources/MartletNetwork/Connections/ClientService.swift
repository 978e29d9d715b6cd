package import Logging
package import MartletCore
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// What the connections of all client listeners share.
package final class ClientService: Sendable {
    package let settings: NetworkSettings
    package let router: Router
    package let accounts: any AccountSource
    /// By which clients log in instead of passwords, where that is offered.
    let tokens: DeviceTokens?
    package let certificates: CertificateStore
    package let clientCertificates: ClientCertificates
    /// Who is believed about tokens that others have given.
    package let issuers: TokenIssuers
    /// Reads tickets, where clients may log in by them.
    let kerberos: KerberosAcceptor?
    package let log: Logger
    /// The same whether that is offered or not.
    private let allTokens: DeviceTokens?
    let admission: Admission
    let bosh: BOSHRegistry
    /// What is known of the white pages, shown or not.
    let people: PeopleDesk
    /// Files that are taken and given by HTTP, where they are.
    let uploads: Uploads?
    /// What an authority is to find here, where one is asked for certificates.
    package let challenges: ACMEChallenges
    // One attempt to log in takes it twice; never on a stanza's path.
    private let throttle: NIOLockedValueBox<LoginThrottle>
    private let registrations: NIOLockedValueBox<RegistrationThrottle>
    // Read as somebody connects and logs in, swapped by a reload.
    private let policy: NIOLockedValueBox<ClientStreamPolicy>

    package init(
        router: Router, accounts: any AccountSource, certificates: CertificateStore, settings: NetworkSettings = NetworkSettings(),
        clientCertificates: ClientCertificates = ClientCertificates(ClientCertificateSettings(), nil), issuers: TokenIssuers = TokenIssuers(),
        kerberos: KerberosAcceptor? = nil, tokens: DeviceTokens? = nil, uploads: Uploads? = nil, challenges: ACMEChallenges = ACMEChallenges(), log: Logger
    ) {
        allTokens = tokens
        self.tokens = settings.tokens.flatMap { tokens?.with($0) }
        self.router = router
        self.accounts = accounts
        self.certificates = certificates
        self.clientCertificates = clientCertificates
        self.issuers = issuers
        self.kerberos = kerberos
        self.settings = settings
        self.uploads = uploads
        self.challenges = challenges
        self.log = log
        admission = Admission(settings.admission)
        bosh = BOSHRegistry()
        people = PeopleDesk(settings.web.people)
        throttle = NIOLockedValueBox(LoginThrottle(settings.throttle))
        registrations = NIOLockedValueBox(RegistrationThrottle(settings.registrations))
        policy = NIOLockedValueBox(settings.policy)
    }

    /// The service of connections that come after a reload: with other settings, and the same counts. Failed log-ins are forgotten if
    /// how they are counted has changed.
    package init(_ old: ClientService, with settings: NetworkSettings, _ kerberos: KerberosAcceptor?) {
        self.settings = settings
        self.kerberos = kerberos
        router = old.router
        accounts = old.accounts
        allTokens = old.allTokens
        tokens = settings.tokens.flatMap { old.allTokens?.with($0) }
        certificates = old.certificates
        clientCertificates = old.clientCertificates
        issuers = old.issuers
        log = old.log
        admission = old.admission
        bosh = old.bosh
        people = old.people
        uploads = old.uploads
        challenges = old.challenges
        throttle = old.throttle
        admission.apply(settings.admission)
        people.apply(settings.web.people)
        registrations = old.registrations
        policy = old.policy
        policy.withLockedValue { $0 = settings.policy }
        if settings.registrations != old.settings.registrations {
            registrations.withLockedValue { $0 = RegistrationThrottle(settings.registrations) }
        }
        if settings.throttle != old.settings.throttle { throttle.withLockedValue { $0 = LoginThrottle(settings.throttle) } }
    }

    /// Connections whose peer is known, and those that have not logged in: for metrics.
    package var connectionCount: Int { admission.connectionCount }
    package var unauthenticatedCount: Int { admission.unauthenticatedCount }
    package var unauthenticatedBytes: Int { admission.unauthenticatedBytes }

    /// Who may log in how, as it is now: streams of this service may have begun by what held before. Without what is the listener's.
    var currentPolicy: ClientStreamPolicy { policy.withLockedValue { $0 } }

    /// How long the answer to an attempt has to wait.
    func beginLogin(_ address: NetworkAddress?, _ account: BareJID?, at now: NIODeadline) -> TimeAmount {
        throttle.withLockedValue { $0.begin(address, account, at: now) }
    }

    /// The same of an attempt that is not made, because of its address and because of its account.
    func loginDelays(_ address: NetworkAddress?, _ account: BareJID, at now: NIODeadline) -> (address: TimeAmount, account: TimeAmount) {
        throttle.withLockedValue { $0.delays(address, account, at: now) }
    }

    /// How long whoever comes from an address has to wait for what others there have guessed.
    func loginDelay(_ address: NetworkAddress?, at now: NIODeadline) -> TimeAmount {
        throttle.withLockedValue { $0.delay(address, at: now) }
    }

    /// The attempt is not to count: it succeeded, or could not be decided.
    func excuseLogin(_ address: NetworkAddress?, _ account: BareJID?, at now: NIODeadline) {
        throttle.withLockedValue { $0.succeed(address, account, at: now) }
    }

    /// Whether somebody who has no account may ask for one now.
    func takesRegistration(_ address: NetworkAddress?, at now: NIODeadline) -> Bool {
        registrations.withLockedValue { $0.take(address, at: now) }
    }
}

/// What the connections of one listener share.
package final class ClientListener: Sendable {
    package let configuration: ListenerConfiguration
    package let service: ClientService
    let policy: ClientStreamPolicy

    package init(_ configuration: ListenerConfiguration, _ service: ClientService) {
        self.configuration = configuration
        self.service = service
        var policy = service.settings.policy
        policy.allowsPlaintext = configuration.allowsPlaintext
        policy.offersTokens = service.tokens != nil
        self.policy = policy
    }

    func isProxy(_ address: NetworkAddress) -> Bool { configuration.proxySources.contains { $0.contains(address) } }
}

/// What a stream asks of the server, as its loop sees it.
struct ClientSurroundings: ClientStreamEnvironment {
    let listener: ClientListener
    let context: LoopContext
    /// What the client has shown, as far as it is believed.
    let certificate: ClientCertificate?
    /// Who the client's end is, if that is known.
    let peer: NetworkAddress?

    var policy: ClientStreamPolicy { listener.policy }
    var defaultDomain: String { context.hosts.hosts.map(\.domain.domainpart).min() ?? "" }
    func serves(_ domain: String) -> Bool { context.hosts.host(ofDomain: domain) != nil }
    func canStartTLS(for domain: String) -> Bool { listener.service.certificates.certificate(of: domain) != nil }
    func streamID() -> String { context.random.token() }
    func takesRegistrations(at domain: String) -> Bool { context.hosts.host(ofDomain: domain)?.registering?.takesStrangers == true }
    func inlineOffer(at domain: String) -> InlineOffer { context.hosts.host(ofDomain: domain)?.inlineOffer ?? InlineOffer() }
    func certification(at domain: String) -> ClientCertification {
        let demand = listener.service.clientCertificates.demand(of: domain)
        guard demand != .off else { return .none }
        return switch certificate.flatMap({ $0.domain == domain ? $0.certified : nil }) {
        case .account(let account)?: demand == .require ? .required(account) : .optional(account)
        case .several?: .several(isRequired: demand == .require)
        case nil: demand == .require ? .required(nil) : .none
        }
    }
    func bearerOffer(at domain: String) -> BearerOffer? { listener.service.issuers.offer(at: domain) }
    func kerberos(at domain: String) -> KerberosOffer? { listener.service.kerberos?.settings.offer(at: domain) }
    func nonce() -> ScramNonce { ScramNonce(random: context.random.bytes(ScramNonce.randomBytesMin + 2)) }
}
