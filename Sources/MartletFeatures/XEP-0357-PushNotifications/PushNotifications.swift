package import MartletCore
package import MartletXML
package import MartletXMPP
import NIOCore

extension Namespace {
    package static let push: Namespace = "urn:xmpp:push:0"
    static let pushSummary = "urn:xmpp:push:summary"
}

/// Wakes the devices of an account that have no connection when there is a message for it: whoever makes the device's app runs a push
/// service, which is told.
///
/// A device is told of every message that comes while the session that registered it has no connection, also of one that another session
/// of the account got: nobody knows in front of which device the person sits, all devices show a conversation, and one that was not woken
/// would show it when it is opened at last. Prosody and ejabberd tell them as well. Messages that a session was sent and had not
/// acknowledged when its connection was lost count like those that come after.
///
/// So it is for a request for a subscription: it waits until somebody answers it.
///
/// Nothing of it holds up a message. A registration has one notification under way; what comes meanwhile is counted into the next one.
package struct PushNotifications: IQResponder, ObservingStage {
    package static let specification = Specification.xep(
        357, "Push Notifications", version: "0.4.1", note: "push services on this server; others follow with components and federation")
    package var disco: DiscoFeatures { DiscoFeatures(account: [.push]) }
    package var document: DocumentKey { .pushRegistrations }
    private let content: PushContent

    package init(_ content: PushContent = PushContent()) { self.content = content }

    // MARK: Registrations (§5, §6)

    package var routes: [IQRoute] {
        [
            .home(.set, "enable", .push) { request, home, context throws(StanzaError) in
                guard case .full(let session) = request.actor else { throw .badRequest("a session registers") }
                let registration = try PushRegistration(enable: request.child, by: session.resourcepart)
                var devices = home.pushDevices
                devices.enable(registration, countMax: context.hosts.host(of: home.address)?.limits.pushRegistrationsMax ?? 1)
                return HomeDecision(.empty, writes: home.store(devices))
            },
            .home(.set, "disable", .push) { request, home, _ throws(StanzaError) in
                let service = try PushRegistration.service(request.child)
                var devices = home.pushDevices
                guard devices.disable(service, node: request.child.attribute("node")) else { return HomeDecision(.empty) }
                return HomeDecision(.empty, writes: home.store(devices))
            },
        ]
    }

    // MARK: Messages (§7)

    package func arrived(_ message: borrowing Stanza, isLogged: Bool, at home: AccountHome, _ context: LoopContext) -> Consequences {
        if let stop = PushRemoval(message.element.root) { return remove(stop, by: message.from, home) }
        guard isLogged, message.from.bare != home.address, PushSummary.isWorthTelling(message.element.root) else { return Consequences() }
        return tell([PushSummary(of: message.element.root, from: message.from, content)], home, context) { _ in true }
    }

    package func unacknowledged(_ messages: [Stanza], by session: FullJID, at home: AccountHome, _ context: LoopContext) -> Consequences {
        let summaries = messages.compactMap { PushSummary(sent: $0, to: home.address, content) }
        return tell(summaries, home, context) { $0.resource == session.resourcepart }
    }

    package func asked(at home: AccountHome, _ context: LoopContext) -> Consequences {
        tell([PushSummary(hasRequest: true)], home, context) { _ in true }
    }

    private func tell(
        _ summaries: [PushSummary], _ home: AccountHome, _ context: LoopContext, _ isMeant: (PushRegistration) -> Bool
    ) -> Consequences {
        guard !summaries.isEmpty else { return Consequences() }
        var devices = home.pushDevices
        let notifications = devices.tell(summaries.reduce(PushSummary(), +), id: context.random.token) { registration in
            isMeant(registration) ? home.isAway(registration) : nil
        }
        home.documents.keep(devices, as: document)
        return Consequences(requests: notifications.map { request($0, home) })
    }

    /// The service no longer wants to hear from the account (§8).
    private func remove(_ removal: PushRemoval, by service: JID, _ home: AccountHome) -> Consequences {
        var devices = home.pushDevices
        guard devices.disable(service, node: removal.node) else { return Consequences() }
        return Consequences(writes: home.store(devices))
    }

    // MARK: Answers (§7.1)

    package func answered(
        _ request: OwnRequest, _ outcome: RequestOutcome, _ answer: ElementView?, at home: AccountHome, _ context: LoopContext
    ) -> Consequences {
        var devices = home.pushDevices
        let conclusion = devices.conclude(request.id, outcome, nextID: context.random.token) { home.isAway($0) }
        var consequences = Consequences(requests: conclusion.next.map { [self.request($0, home)] } ?? [])
        if conclusion.isChanged { consequences.writes = home.store(devices) } else { home.documents.keep(devices, as: document) }
        return consequences
    }

    private func request(_ notification: PushNotification, _ home: AccountHome) -> OwnRequest {
        var writer = XMLWriter()
        notification.write(to: &writer, pendingSubscriptions: home.roster.requests.reduce(0) { count, _ in count + 1 })
        return OwnRequest(id: notification.id, to: notification.service, payload: writer.buffer)
    }
}

extension AccountHome {
    /// Of a document that cannot be read nothing is taken: the devices register again when they connect.
    fileprivate var pushDevices: PushDevices { documents.value(.pushRegistrations) { PushDevices(document: $0) } ?? PushDevices() }

    fileprivate func store(_ devices: PushDevices) -> [Write] {
        let document = devices.document
        documents[.pushRegistrations] = document
        if document != nil { documents.keep(devices, as: .pushRegistrations) }
        return [.document(id, .pushRegistrations, document)]
    }

    /// Whether the session that registered a device has no connection, or is gone.
    fileprivate func isAway(_ registration: PushRegistration) -> Bool {
        !sessions.contains { !$0.isDetached && $0.address.resourcepart == registration.resource }
    }
}
