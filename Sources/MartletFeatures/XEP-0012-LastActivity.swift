package import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let lastActivity: Namespace = "jabber:iq:last"
}

/// For how long the server has been running, and since when an account is offline.
///
/// Of an account only those learn who see its presence, and administrators of its domain. All others get `service-unavailable`, where §3 says `forbidden`: that
/// would tell an account that exists from one that does not (`reliability.md` rule 23).
package struct LastActivityQueries: IQResponder {
    package static let specification = Specification.xep(12, "Last Activity", version: "2.0")
    package let disco = DiscoFeatures.everywhere(.lastActivity)
    private let time: any TimeSource
    private let uptime: Uptime

    package init(time: any TimeSource, uptime: Uptime) {
        self.time = time
        self.uptime = uptime
    }

    package var routes: [IQRoute] {
        [
            .immediate(.get, "query", .lastActivity, at: .host) { [uptime] _, _ throws(StanzaError) in
                Self.reply(seconds: uptime.seconds, status: nil)
            },
            .home(.get, "query", .lastActivity, at: .account) { [time] request, home, _ throws(StanzaError) in
                try Self.answer(request, home, now: time.wallMilliseconds)
            },
        ]
    }

    private static func answer(_ request: IQRequest, _ home: AccountHome, now: Int64) throws(StanzaError) -> HomeDecision {
        guard request.isByAdmin || home.maySeePresence(request.actor) else { throw .serviceUnavailable }
        if home.hasAvailableSession || request.isByOwner { return HomeDecision(reply(seconds: 0, status: nil)) }
        guard let last = home.lastActivity else { throw .serviceUnavailable }
        return HomeDecision(reply(seconds: max(0, (now - last.time) / 1_000), status: last.status))
    }

    private static func reply(seconds: Int64, status: String?) -> IQReply {
        IQReply { $0.element("query", .lastActivity, ["seconds": String(seconds)], text: status) }
    }
}
