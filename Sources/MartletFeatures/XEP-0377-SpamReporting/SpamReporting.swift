package import MartletCore
import MartletXML
package import MartletXMPP
import NIOCore

/// Accounts tell the operator of those whom they block, and the server has nothing to do with those whom others have told of.
///
/// Reports come with blocking (`XEP-0191-Blocking.swift`) and are kept for the operator; this server hands them on to nobody (§4.1 lets it). Block lists
/// that others share are followed by ``SharedListKeeper``; rooms ask for them as well (`RoomEntering.swift`).
package struct SpamReporting: ScreeningStage, DomainStage {
    package static let specification = Specification.xep(
        377, "Spam Reporting", version: "0.4.1", note: "kept for the operator, not forwarded; beside it block lists that others share, by PubSub")
    package let disco = DiscoFeatures.everywhere(.reporting)
    /// How many are kept.
    let limits: ReportLimits
    /// `nil` where no lists are followed.
    private let keeper: SharedListKeeper?
    package let isScreening: Bool

    package init(_ keeper: SharedListKeeper? = nil, isScreening: Bool = true, limits: ReportLimits = ReportLimits()) {
        self.keeper = keeper
        self.isScreening = isScreening && keeper != nil
        self.limits = limits
    }

    // MARK: Who is on a block list

    /// Messages and requests for subscriptions of strangers are refused as if there were no such account. Whoever is in the account's roster, is one of
    /// this server's, or is in a room that a session has entered, is no stranger.
    package func screen(_ stanza: borrowing Stanza, _ home: AccountHome, _ route: borrowing Route) -> Verdict {
        guard let lists = keeper?.lists, !lists.isEmpty, route.direction == .received, route.origin == nil else { return .pass }
        let verdict: Verdict
        switch stanza.kind {
        case .message: verdict = .bounce(.serviceUnavailable)
        case .presence(.subscribe): verdict = .drop
        case .presence, .iq: return .pass
        }
        let stranger = route.peer.bare
        // Whoever has only asked for a subscription is in the roster's memory, and not in the roster.
        guard home.roster[stranger]?.subscription.isInRoster != true, !home.hasDirectedPresence(to: stranger), lists.contains(stranger) else { return .pass }
        lists.countRefusal()
        return verdict
    }

    // MARK: Those who share block lists

    package func heard(_ message: Stanza, _ router: Router, _ context: LoopContext) -> Bool { keeper?.heard(message, router, context) ?? false }
}

extension AccountHome {
    /// By index: walking over the entries would copy each of them.
    fileprivate func hasDirectedPresence(to address: BareJID) -> Bool {
        sessions.indices.contains { index in sessions[index].directed.contains { $0.bare == address } }
    }
}
