import MartletXML
import MartletXMPP
import NIOCore

/// Delivery of what waited in the message log (XEP-0160), page by page. Live messages wait behind it.
extension Router {
    /// Under the lock.
    func startReplay(to entry: SessionEntry, _ home: AccountHome, _ context: LoopContext) {
        guard home.offline.delivery == .idle, home.offline.handedOver == nil, home.offline.count > 0 else { return }
        home.offline.delivery = .replaying(to: entry.ref)
        readPage(after: home.offline.deliveredUpTo, to: entry.ref, home, context)
    }

    private func readPage(after view: UInt64, to recipient: SessionRef, _ home: AccountHome, _ context: LoopContext) {
        let address = home.address
        store.messages(of: home.id, after: view, limit: settings.replayPage) { [self, mailbox = context.mailbox] result in
            mailbox.run { context in self.pageRead(address, recipient, result, context) }
        }
    }

    private func pageRead(_ address: BareJID, _ recipient: SessionRef, _ result: Result<[LoggedMessage], StoreError>, _ context: LoopContext) {
        let shard = placement.shard(of: address)
        shard.withLock {
            // Another session may have taken over since the page was asked for.
            guard let home = shard.home(address), home.offline.delivery == .replaying(to: recipient) else { return }
            guard let host = context.hosts.host(of: address), case .success(let messages) = result else {
                return finishReplay(home, context)
            }
            for message in messages { replay(message, to: recipient, host, home, context) }
            if !messages.isEmpty { context.post(.awaitProof(recipient), to: recipient.mailbox) }
            if messages.count < settings.replayPage { return finishReplay(home, context) }
            readPage(after: messages.last?.view ?? home.offline.deliveredUpTo, to: recipient, home, context)
        }
        context.runEffects()
    }

    private func replay(_ logged: LoggedMessage, to recipient: SessionRef, _ host: Host, _ home: AccountHome, _ context: LoopContext) {
        let old = home.offline.handedOver
        home.offline.handedOver = (
            logged.view, (old?.count ?? 0) + 1, (old?.bytes ?? 0) + logged.stanza.bytes.readableBytes, recipient
        )
        guard var message = Stanza(logged: logged.stanza) else { return }
        for stage in host.naming { stage.name(&message, logged.view, by: home.address) }
        for stage in host.delaying { stage.delay(&message, by: host.domain, since: logged.time) }
        context.post(message.encoded(), to: recipient)
    }

    /// The log is empty: what arrived meanwhile follows, in order.
    private func finishReplay(_ home: AccountHome, _ context: LoopContext) {
        home.offline.delivery = .idle
        let held = home.offline.held
        home.offline.held = []
        for work in held { work(home, context) }
    }

    /// A session that was being replayed to has ended: nothing counts as delivered, what was held goes its usual way.
    func takeBackReplay(of ref: SessionRef, _ home: AccountHome) -> [AccountHome.Work] {
        guard case .replaying(let recipient) = home.offline.delivery, recipient === ref else { return [] }
        home.offline.delivery = .idle
        let held = home.offline.held
        home.offline.held = []
        return held
    }

    /// A client that sends something after its stored messages were written has read them, as far as can be known without
    /// stream management (P2): the cursor moves.
    func noteLife(of session: ClientSession) {
        guard session.awaitsDeliveryProof else { return }
        let home = session.home
        home.shard.withLock {
            guard home.offline.delivery == .idle else { return }
            session.awaitsDeliveryProof = false
            guard let handedOver = home.offline.handedOver, handedOver.recipient === session.ref else { return }
            home.offline.handedOver = nil
            home.offline.deliveredUpTo = handedOver.upTo
            home.offline.count = max(0, home.offline.count - handedOver.count)
            home.offline.bytes = max(0, home.offline.bytes - handedOver.bytes)
            home.lastTicket = store.submit([.cursor(home.id, upTo: handedOver.upTo)])
        }
    }
}

extension Stanza {
    /// A message as it was logged. `nil` if the log's bytes are no stanza with a sender: then the log is damaged.
    init?(logged stanza: EncodedStanza) {
        guard let element = try? parseElement(stanza.bytes, limits: .authenticated),
            let from = element.root.attribute("from").flatMap({ try? JID($0) })
        else { return nil }
        let to = element.root.attribute("to").flatMap { try? JID($0) }
        self.init(element, kind: .message(MessageType(of: element.root)), from: from, to: to)
    }
}
