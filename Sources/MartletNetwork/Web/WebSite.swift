import MartletCore
package import NIOCore
import NIOHTTP1

/// How requests are treated. Every bound of HTTP is here.
package struct WebSettings: Hashable, Sendable {
    /// From accept to the end of the first request's head, the handshake of TLS included.
    package var headDeadline = TimeAmount.seconds(30)
    /// From the end of a request's head to the end of its body.
    package var bodyDeadline = TimeAmount.seconds(30)
    /// From an answer to the end of the next request's head.
    package var idleTimeout = TimeAmount.seconds(60)
    /// From an answer behind which the connection closes to its end.
    package var lingering = TimeAmount.seconds(5)
    /// For bodies that may be long, such as files: how long nothing may pass of one.
    package var transferStall = TimeAmount.seconds(30)
    /// What has to pass of one in a second in the long run, in bytes, beyond ``transferReserve``.
    package var transferBytesPerSecondMin = 4_096
    package var transferReserve = TimeAmount.seconds(60)
    /// Bytes that are read at a time of one.
    package var transferReceiveBytes = 65_536
    /// Whether files are taken and given (XEP-0363).
    package var offersUploads = false
    /// Longest head of a request, in bytes of its path and its fields' names and values.
    package var headBytesMax = 16_384
    /// Most fields of a request's head.
    package var headFieldsMax = 100
    /// Where clients reach this server from outside, such as `https://chat.example.org`, without a slash at its end; `nil`: as each has asked.
    package var url: String?
    /// Where it is reached in other ways, to be told by host-meta.json (XEP-0487); `nil`: it does not say.
    package var ports: PublicPorts?
    package var people = PeopleSettings()

    package init() {}

    var decoderLimits: NIOHTTPDecoderLimitConfiguration {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = headBytesMax
        limits.maxHeaderListSize = headBytesMax
        limits.maxHeaderFieldCount = headFieldsMax
        return limits
    }
}

/// What a listener for HTTP offers: paths, and what they lead to.
final class WebSite: Sendable {
    static let webSocketPath = "/xmpp-websocket"
    static let boshPath = "/http-bind"
    static let contentPolicy = "default-src 'none'; frame-ancestors 'none'"

    let listener: ClientListener
    /// All where clients connect, this one included.
    let listeners: [ClientListener]
    let settings: WebSettings
    private let resources: [String: any WebResource]
    /// Whatever is at a path that begins with ``UploadPath/prefix``.
    private let uploads: UploadResource?
    /// Whatever is at a path that begins with ``PeoplePhotoPath/prefix``.
    private let photos: PeoplePage?
    /// Whatever is at a path that begins with ``ACMEChallenges/prefix``.
    private let challenges: ACMEChallengeResource

    init(_ listener: ClientListener, among listeners: [ClientListener]) {
        self.listener = listener
        self.listeners = listeners
        settings = listener.service.settings.web
        uploads = settings.offersUploads ? listener.service.uploads.map { UploadResource(uploads: $0) } : nil
        challenges = ACMEChallengeResource(challenges: listener.service.challenges)
        let offersPeople = !settings.people.access.isEmpty
        photos = offersPeople ? PeoplePage(part: .photo) : nil
        var resources: [String: any WebResource] = [
            Self.webSocketPath: WebSocketResource(),
            Self.boshPath: BOSHResource(listener.service.settings),
            HostMeta.Form.xml.path: HostMeta(form: .xml, url: settings.url, ports: nil),
            HostMeta.Form.json.path: HostMeta(form: .json, url: settings.url, ports: settings.ports),
            InvitationStyle.path: InvitationStyle(),
        ]
        if offersPeople {
            resources[PeoplePath.list] = PeoplePage(part: .list)
            resources[PeoplePath.events] = PeoplePage(part: .events)
            resources[PeoplePath.login] = PeoplePage(part: .login)
            resources[PeoplePath.logout] = PeoplePage(part: .logout)
            resources[PeoplePath.script] = PeopleAsset.script
            resources[PeoplePath.style] = PeopleAsset.style
        }
        self.resources = resources
    }

    /// Paths are compared as they are written: nothing is decoded and nothing left out, so that there is one way to write each.
    func resource(at path: String) -> (any WebResource)? {
        if path.hasPrefix(ACMEChallenges.prefix) { return challenges }
        if listener.configuration.kind == .challenge { return nil }
        if let resource = resources[path] { return resource }
        if path.hasPrefix(PeoplePhotoPath.prefix) { return photos }
        return path.hasPrefix(UploadPath.prefix) ? uploads : InvitationPage(path: path)
    }
}
