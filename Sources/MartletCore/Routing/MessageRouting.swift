import MartletXML
package import MartletXMPP
import NIOCore

/// A message between the sender's account and the recipient's. It is handed on in place: a copy would count ten references, and again when it
/// is gone, some 600 instructions.
struct MessageInTransit: Sendable {
    /// Under which the sender's archive keeps it: on its way to the log together with the recipient's view.
    struct SentView: Sendable {
        let account: BareJID
        let view: LogEntry.View
    }

    var stanza: Stanza
    let type: MessageType
    let to: JID
    /// The session that sent it, if it is one of ours.
    let origin: SessionRef?
    let completion: Completion?
    /// Whether the sender is told when the message is safe (XEP-0198): then it goes to the log.
    var isPromised = false
    /// Where the sender's stream stands with it.
    var position: StreamPosition?
    /// Whether it is worth archiving, once somebody has asked.
    var isArchivable: Bool?
    var sent: SentView?
    /// When the server took it, in milliseconds since 1970, if that was not now.
    var taken: Int64?
    /// Set where it says that a message comes back long after it was sent: it waits for the sender like a message of somebody's. Called once the
    /// log has been given it.
    var returned: (@Sendable () -> Void)?

    init(_ stanza: Stanza, _ type: MessageType, to: JID, origin: SessionRef?, _ completion: Completion? = nil) {
        self.stanza = stanza
        self.type = type
        self.to = to
        self.origin = origin
        self.completion = completion
    }
}

/// The life of a message (RFC 6121 §5, §8). Two passes: the sender's account, then the recipient's; each reads from top to
/// bottom, and there is no other place where a message is decided on.
extension Router {
    func message(_ stanza: consuming Stanza, _ type: MessageType, to: JID, from session: ClientSession, _ completion: Completion) -> Progress {
        guard let host = session.context.hosts.host(of: session.address.bare) else { return .done }
        if let eventing = host.eventing, to == .bare(session.home.address), eventing.isDecision(stanza) {
            eventing.decide(Arrival(stanza, to: to, origin: session.ref, completion), self, session.context)
            return .pending
        }
        var message = MessageInTransit(consume stanza, type, to: to, origin: session.ref, completion)
        message.isPromised = session.management != nil
        let verdict = session.home.shard.withLock {
            if message.isPromised { message.position = session.position(with: completion.sequence, of: session.home.id) }
            return send(&message, host, session.home, session.context)
        }
        switch verdict {
        case .pass: break
        case .drop: return .done
        case .bounce(let error): return session.refuse(message.stanza, error)
        }
        let progress = deliver(&message, session.context)
        if let sent = message.sent, progress != .pending { session.home.shard.withLock { session.home.close(sent.view.id) } }
        return progress
    }

    /// A message in the name of an account that none of its sessions has sent (XEP-0356 §5): the account does with it what it does with those of
    /// its sessions, all of which get copies. With no lock held; the caller runs effects.
    ///
    /// - Parameters:
    ///   - stanza: from the account's bare address.
    ///   - refused: called at most once, on this loop, with no lock held: if it does not leave the account.
    package func message(
        inName stanza: Stanza, _ type: MessageType, to: JID, _ completion: Completion, _ context: LoopContext,
        refused: @escaping @Sendable (StanzaError, LoopContext) -> Void
    ) -> Progress {
        let account = stanza.from.bare
        withHome(of: account, bytes: stanza.element.byteCount, context) { [self] home, context in
            var message = MessageInTransit(stanza, type, to: to, origin: nil, completion)
            let verdict: Verdict
            switch (home.stage, context.hosts.host(of: account)) {
            case (.resident, let host?): verdict = send(&message, host, home, context)
            case (.absent, _): verdict = .bounce(.forbidden("there is no such account"))
            case (.resident, nil), (.loading, _), (.stale, _), (.failed, _): verdict = .bounce(StanzaError(.internalServerError, .wait))
            }
            let leaving = message
            context.after { [self] context in handOn(leaving, verdict, context, refused: refused) }
        }
        return .pending
    }

    private func handOn(
        _ leaving: MessageInTransit, _ verdict: Verdict, _ context: LoopContext, refused: @Sendable (StanzaError, LoopContext) -> Void
    ) {
        var message = leaving
        switch verdict {
        case .pass:
            let progress = deliver(&message, context)
            guard progress != .pending else { return }
            if let sent = message.sent { close(sent) }
            message.completion?.complete(progress, in: context)
        case .drop, .bounce:
            if case .bounce(let error) = verdict { refused(error, context) }
            message.completion?.complete(.done, in: context)
        }
    }

    /// A message of one of our domains' own, such as a component sends in its name. With no lock held; the caller runs effects.
    package func message(ofServer stanza: Stanza, _ type: MessageType, to: JID, _ completion: Completion, _ context: LoopContext) -> Progress {
        var message = MessageInTransit(stanza, type, to: to, origin: nil, completion)
        return deliver(&message, context)
    }

    // MARK: The sender's account

    /// Under the lock of the sender's shard.
    private func send(_ message: inout MessageInTransit, _ host: Host, _ home: AccountHome, _ context: LoopContext) -> Verdict {
        if home.mayResend, resent.contains(message.stanza, to: message.to, at: context.time.monotonic) { return .drop }
        let route = Route(account: home.address, direction: .sent, origin: message.origin, peer: message.to)
        for stage in host.screening {
            let verdict = stage.screen(message.stanza, home, route)
            if verdict != .pass { return verdict }
        }
        openSentView(of: &message, host, home, context)
        copySent(message, host, home, route, context)
        for stage in host.redacting { stage.redact(&message.stanza, route) }
        return .pass
    }

    /// A name in the sender's archive, if that keeps the message. What an account says to itself is kept once, as it arrives.
    private func openSentView(of message: inout MessageInTransit, _ host: Host, _ home: AccountHome, _ context: LoopContext) {
        guard message.to.bare != home.address, archives(&message, with: message.to, host, home) else { return }
        let id = nextViewID(home, context)
        home.openViews.append(id)
        let mark = ArchiveMark(with: message.to.bare, isSent: true)
        message.sent = .init(account: home.address, view: .init(owner: home.id, id: id, awaitsDelivery: false, archived: mark))
    }

    private func archives(_ message: inout MessageInTransit, with peer: JID, _ host: Host, _ home: AccountHome) -> Bool {
        guard let archiving = host.archiving else { return false }
        if message.isArchivable == nil { message.isArchivable = archiving.isWorthArchiving(message.stanza) }
        return message.isArchivable == true && archiving.archives(with: peer, home)
    }

    private func copySent(
        _ message: borrowing MessageInTransit, _ host: Host, _ home: AccountHome, _ route: borrowing Route, _ context: LoopContext
    ) {
        guard home.sessions.count > 1 || message.origin == nil else { return }
        let copies = copies(of: message.stanza, host, home, route, besides: [])
        post(copies, of: message.stanza, named: message.sent?.view.id, host, home, route, view: 0, context)
    }

    // MARK: On to the recipient

    func deliver(_ message: inout MessageInTransit, _ context: LoopContext) -> Progress {
        switch Destination(message.to, context) {
        case .remote: return deliverRemote(message, context).map(Progress.done) ?? logSent(message, after: .done, context)
        case .host(let host):
            if isHeard(message.stanza, by: host, context) { return logSent(message, after: .done, context) }
            return refuse(message, .serviceUnavailable, context)
        case .service(let host):
            var arrival = Arrival(message.stanza, to: message.to, origin: message.origin, message.completion)
            arrival.position = message.position
            return logSent(message, after: deliver(arrival, to: host, context), context)
        case .account(let host):
            let address = message.to.bare
            let shard = placement.shard(of: address)
            return shard.withLock {
                if let home = readyHome(address, in: shard, context) { return receive(&message, host, home, context) }
                return park(message, host, in: shard, context)
            }
        }
    }

    /// - Returns: whether the domain had expected it. With no lock held.
    func isHeard(_ stanza: Stanza, by host: Host, _ context: LoopContext) -> Bool {
        guard let listening = host.listening, stanza.to == .bare(host.domain) else { return false }
        return listening.heard(stanza, self, context)
    }

    /// It waits until the recipient's account is in memory. Under the lock of that one's shard.
    private func park(_ message: MessageInTransit, _ host: Host, in shard: Shard, _ context: LoopContext) -> Progress {
        let isParked = park(message.to.bare, bytes: message.stanza.element.byteCount, in: shard, context) { [self] home, context in
            receiveLater(message, host, home, context)
        }
        return isParked ? .pending : refuse(message, StanzaError(.resourceConstraint, .wait), context)
    }

    /// What had to wait. Under the lock of the recipient's shard.
    private func receiveLater(_ waiting: MessageInTransit, _ host: Host, _ home: AccountHome, _ context: LoopContext) {
        var message = waiting
        let progress = receive(&message, host, home, context)
        guard progress != .pending else { return }
        if let sent = message.sent { context.after { [self] _ in close(sent) } }
        message.returned?()
        complete(message, progress, context)
    }

    /// A stanza of a session on another loop is done when it is on disk: if that refuses it, the error is posted there first (P19).
    private func complete(_ message: borrowing MessageInTransit, _ progress: Progress, _ context: LoopContext) {
        guard let completion = message.completion else { return }
        guard case .done(let ticket) = progress, message.isPromised, completion.mailbox !== context.mailbox else {
            return completion.complete(progress, in: context)
        }
        context.afterCommit(ticket) { context, _ in completion.complete(.done, in: context) }
    }

    /// It does not go on; the sender's archive has it all the same, as its other sessions have copies.
    private func refuse(_ message: borrowing MessageInTransit, _ error: StanzaError, _ context: LoopContext) -> Progress {
        bounce(message.stanza, error, message.origin, context)
        return logSent(message, after: .done, context)
    }

    // MARK: The recipient's account

    /// Under the lock of the recipient's shard.
    func receive(_ message: inout MessageInTransit, _ host: Host, _ home: AccountHome, _ context: LoopContext) -> Progress {
        guard home.isResident else {
            return refuse(message, home.stage == .absent ? .serviceUnavailable : StanzaError(.internalServerError, .wait), context)
        }
        if case .replaying = home.offline.delivery { return hold(message, host, home, context) }
        let route = Route(account: home.address, direction: .received, origin: message.origin, peer: message.stanza.from)
        for stage in host.screening {
            switch stage.screen(message.stanza, home, route) {
            case .pass: continue
            case .drop: return logSent(message, after: .done, context)
            case .bounce(let error): return refuse(message, error, context)
            }
        }
        for stage in host.annotating { stage.annotate(&message.stanza, route) }
        let type = message.returned == nil ? message.type : .normal
        switch DeliveryRules.message(type, to: message.to, sessions: home.sessions, policy: host.limits.messagesTo) {
        case .deliver(let recipients): return deliver(&message, to: recipients, host, home, route, context)
        case .fallBack: return fallBack(&message, host, home, route, context)
        case .refuse(let error): return refuse(message, error, context)
        case .ignore: return logSent(message, after: .done, context)
        }
    }

    private func deliver(
        _ message: inout MessageInTransit, to recipients: SessionSet, _ host: Host, _ home: AccountHome, _ route: borrowing Route,
        _ context: LoopContext
    ) -> Progress {
        let id = message.type.isNamed || message.returned != nil ? nextViewID(home, context) : nil
        let copies = copies(of: message.stanza, host, home, route, besides: recipients)
        let holders = copies.reduce(recipients) { $0.union($1.sessions) }
        var view: LogEntry.View?
        if let id { view = receivedView(id, &message, to: holders, host, home, route) }
        let handedOut = view.map { $0.awaitsDelivery ? $0.id : Post.archivedOnly } ?? (holders.rawValue.nonzeroBitCount > 1 ? Post.shared : 0)
        let told = host.tells(nameOfArchived: view?.archived != nil) ? id : nil
        post(copies, of: message.stanza, named: told, host, home, route, view: handedOut, context)
        for stage in host.redacting { stage.redact(&message.stanza, route) }
        defer { shardIdle(home) }
        observe(message.stanza, isLogged: view != nil, host, home, context)
        guard let view else {
            let progress = logSent(message, after: .done, context)
            post(encode(message.stanza, told, host, home), to: recipients, of: home, view: handedOut, context)
            return progress
        }
        let (logged, named) = encodeTwice(message.stanza, told, host, home)
        let ticket = log(message, logged, view, to: holders, home, context)
        post(named, to: recipients, of: home, view: handedOut, context)
        return .done(ticket)
    }

    /// The account's view of a message for the log, if it goes there: where the archive keeps it, and where somebody is to be told
    /// that it is safe or can tell that it has arrived.
    private func receivedView(
        _ id: UInt64, _ message: inout MessageInTransit, to holders: SessionSet, _ host: Host, _ home: AccountHome, _ route: borrowing Route
    ) -> LogEntry.View? {
        let mark = receivedMark(&message, host, home, route)
        var awaitsDelivery = message.isPromised || home.sessions.indices.contains {
            holders.contains(index: $0) && home.sessions[$0].flags.contains(.managed)
        }
        if awaitsDelivery, mark == nil, message.returned == nil { awaitsDelivery = host.fallBack.contains { $0.isWorthKeeping(message.stanza) } }
        guard mark != nil || awaitsDelivery else { return nil }
        return .init(owner: home.id, id: id, awaitsDelivery: awaitsDelivery, archived: mark)
    }

    /// How the account's archive keeps what it gets; what it said to itself counts as sent.
    private func receivedMark(
        _ message: inout MessageInTransit, _ host: Host, _ home: AccountHome, _ route: borrowing Route
    ) -> ArchiveMark? {
        guard archives(&message, with: route.peer, host, home) else { return nil }
        return ArchiveMark(with: route.peer.bare, isSent: route.peer.bare == home.address)
    }

    private func nextViewID(_ home: AccountHome, _ context: LoopContext) -> UInt64 {
        home.lastViewID = ids.next(after: home.lastViewID, wallMilliseconds: context.wallMilliseconds)
        return home.lastViewID
    }

    private func name(_ id: UInt64, _ host: Host, _ home: AccountHome, _ writer: inout XMLWriter) {
        for stage in host.naming { stage.name(id, by: home.address, to: &writer) }
    }

    private func encode(_ message: borrowing Stanza, _ id: UInt64?, _ host: Host, _ home: AccountHome) -> EncodedStanza {
        guard let id else { return message.encoded() }
        return message.encoded { writer in name(id, host, home, &writer) }
    }

    /// As the log keeps it, and as it goes out: with its name, if that is told.
    private func encodeTwice(
        _ message: borrowing Stanza, _ id: UInt64?, _ host: Host, _ home: AccountHome
    ) -> (logged: EncodedStanza, named: EncodedStanza) {
        guard let id else {
            let encoded = message.encoded()
            return (encoded, encoded)
        }
        let (logged, named) = message.encodedTwice { writer in name(id, host, home, &writer) }
        return (logged, named)
    }

    private typealias Copies = (stage: any FanOutStage, sessions: SessionSet)

    /// Who else in the account gets a message, such as by carbons.
    private func copies(
        of message: borrowing Stanza, _ host: Host, _ home: AccountHome, _ route: borrowing Route, besides recipients: SessionSet
    ) -> [Copies] {
        guard home.sessions.count > 1 || (route.direction == .received ? recipients.isEmpty : route.origin == nil) else { return [] }
        var copies: [Copies] = []
        for stage in host.fanOut {
            let sessions = stage.copies(of: message, home, route, besides: recipients)
            if !sessions.isEmpty { copies.append((stage, sessions)) }
        }
        return copies
    }

    private func post(
        _ copies: [Copies], of message: borrowing Stanza, named id: UInt64?, _ host: Host, _ home: AccountHome, _ route: borrowing Route,
        view: UInt64, _ context: LoopContext
    ) {
        if copies.isEmpty { return }
        var message = copy message
        if let id { message.add { writer in name(id, host, home, &writer) } }
        for (stage, sessions) in copies {
            for index in home.sessions.indices where sessions.contains(index: index) {
                context.post(stage.encodeCopy(of: message, for: home.sessions[index], route), to: home.sessions[index].ref, view: view)
            }
        }
    }

    func post(_ stanza: EncodedStanza, to recipients: SessionSet, of home: AccountHome, view: UInt64 = 0, _ context: LoopContext) {
        // By index: walking over the entries would copy each of them.
        for index in home.sessions.indices where recipients.contains(index: index) {
            context.post(stanza, to: home.sessions[index].ref, view: view)
        }
    }

    // MARK: Nobody there

    private func fallBack(
        _ message: inout MessageInTransit, _ host: Host, _ home: AccountHome, _ route: borrowing Route, _ context: LoopContext
    ) -> Progress {
        defer { shardIdle(home) }
        for stage in host.fallBack {
            switch message.returned != nil ? .keep : stage.fallBack(message.stanza, home, host.limits) {
            case .keep:
                observe(message.stanza, isLogged: true, host, home, context)
                let mark = receivedMark(&message, host, home, route)
                for stage in host.redacting { stage.redact(&message.stanza, route) }
                let view = LogEntry.View(owner: home.id, id: nextViewID(home, context), archived: mark)
                return .done(log(message, message.stanza.encoded(), view, to: [], home, context))
            case .refuse(let error): return refuse(message, error, context)
            case .ignore: return logSent(message, after: .done, context)
            }
        }
        return refuse(message, .serviceUnavailable, context)
    }

    // MARK: The log

    /// Appends to the message log what the recipient's account has of a message, and the sender's archive, in the order in which the
    /// recipient's lock was taken. If the disk refuses, the sender learns of it where anything was promised.
    private func log(
        _ message: borrowing MessageInTransit, _ stanza: EncodedStanza, _ view: LogEntry.View, to holders: SessionSet, _ home: AccountHome,
        _ context: LoopContext
    ) -> CommitTicket {
        let views = if let sent = message.sent { [sent.view, view] } else { [view] }
        let entry = LogEntry(
            stanza: stanza, views: views, time: message.taken ?? context.wallMilliseconds, position: message.position)
        let ticket = store.submit([.log(entry)])
        home.lastTicket = ticket
        guard view.awaitsDelivery else { return ticket }
        home.offline.deliveries.append(view.id, bytes: stanza.bytes.readableBytes, to: home.slots(of: holders))
        let (address, origin) = (home.address, message.origin)
        context.afterCommit(ticket) { [self] context, outcome in
            guard case .failure(let error) = outcome else { return }
            // Read again: it would be copied for each message, and hardly ever wanted.
            if let refused = Stanza(sent: stanza) { bounceRefused(refused, error, origin, context) }
            withdraw(view.id, of: address)
        }
        return ticket
    }

    /// The log has not taken a message: nobody is to wait for its delivery.
    private func withdraw(_ view: UInt64, of account: BareJID) {
        let shard = placement.shard(of: account)
        shard.withLock { shard.home(account)?.offline.deliveries.deliver(view) }
    }

    /// Appends a message that only the sender's archive keeps.
    private func logSent(_ message: borrowing MessageInTransit, after progress: Progress, _ context: LoopContext) -> Progress {
        guard let sent = message.sent else { return progress }
        let entry = LogEntry(
            stanza: message.stanza.encoded(), views: [sent.view], time: message.taken ?? context.wallMilliseconds, position: message.position)
        return .done(store.submit([.log(entry)]))
    }

    /// A name that is on its way to the log has been submitted. With no lock held.
    private func close(_ sent: MessageInTransit.SentView) {
        let shard = placement.shard(of: sent.account)
        shard.withLock { shard.home(sent.account)?.close(sent.view.id) }
    }

    // MARK: Replay

    /// What arrives while the log is being read waits behind it: order is kept (P5).
    private func hold(_ message: MessageInTransit, _ host: Host, _ home: AccountHome, _ context: LoopContext) -> Progress {
        let bytes = message.stanza.element.byteCount
        guard home.offline.held.hasRoom(forBytes: bytes, host.limits) else {
            return refuse(message, StanzaError(.resourceConstraint, .wait), context)
        }
        home.offline.held.append(bytes: bytes) { [self] home, context in receiveLater(message, host, home, context) }
        return .pending
    }

    func shardIdle(_ home: AccountHome) {
        if home.sessions.isEmpty { home.shard.noteIdle(home, settled: store.settled) }
    }
}

extension StanzaError {
    /// What a sender is told when the disk did not take what he sent.
    package init(refusal: StoreError) {
        switch refusal {
        case .full: self.init(.resourceConstraint, .wait, text: "the server has no space left")
        case .unavailable, .constraint, .corrupt: self.init(.internalServerError, .wait)
        }
    }
}

extension Host {
    /// Whether clients are told an account's name for a message: where its archive answers for that (XEP-0313 §3). They go on reading
    /// after the last one that they were told, and after one that the archive does not know there is nothing. Without archives nobody asks, and a
    /// name tells what comes again from what is new.
    func tells(nameOfArchived isArchived: Bool) -> Bool { isArchived || archiving == nil }
}

extension MessageType {
    /// Whether messages of the type get a name in the account's view: those that may ever be looked up by it.
    fileprivate var isNamed: Bool {
        switch self {
        case .chat, .normal: true
        case .groupchat, .headline, .error: false
        }
    }
}

extension AccountHome {
    /// A name that was given to a message is in the log now. Under the lock.
    func close(_ view: UInt64) {
        if let index = openViews.firstIndex(of: view) { openViews.remove(at: index) }
    }
}
