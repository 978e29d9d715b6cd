package import MartletXML
package import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// Requests that components make in accounts' names and that wait for their answers (XEP-0356 §6).
///
/// An answer counts only from whom was asked, under an identifier that nobody else can guess, and once.
final class RequestsInName: Sendable {
    struct Pending {
        let account: BareJID
        let asked: JID
        let component: BareJID
        let deadline: Scheduled<Void>
        let answered: @Sendable (Stanza, LoopContext) -> Void
    }

    private struct State {
        var byID: [String: Pending] = [:]
        var counts: [BareJID: Int] = [:]
    }

    // One for all loops: held for a look-up, for answers to bare addresses of accounts only.
    private let state = NIOLockedValueBox(State())

    /// - Returns: whether there was room for it.
    func insert(_ pending: Pending, as id: String) -> Bool {
        state.withLockedValue { state in
            let count = state.counts[pending.component, default: 0]
            guard count < Component.requestsInNameMax else { return false }
            state.counts[pending.component] = count + 1
            state.byID[id] = pending
            return true
        }
    }

    /// - Parameter isAnswered: whether the answer is one.
    func take(_ id: String, where isAnswered: (Pending) -> Bool) -> Pending? {
        state.withLockedValue { state in
            guard let pending = state.byID[id], isAnswered(pending) else { return nil }
            state.byID[id] = nil
            let count = state.counts[pending.component, default: 0] - 1
            state.counts[pending.component] = count > 0 ? count : nil
            return pending
        }
    }
}

extension Component {
    /// Requests in accounts' names that one component may wait for; a further one fails at once with `resource-constraint`.
    package static var requestsInNameMax: Int { 1_000 }
}

extension Router {
    /// Asks something in an account's name. With no lock held; the caller runs effects.
    ///
    /// - Parameters:
    ///   - content: the request as it is to be sent, but for its `from` and `id`.
    ///   - answered: called once, on whatever loop, with no lock held: with the answer, or with an error of this server's. It has an identifier of its own.
    package func ask(
        _ content: ElementView, _ kind: IQRequest.Kind, to: JID, inNameOf account: BareJID, by component: BareJID, _ context: LoopContext,
        answered: @escaping @Sendable (Stanza, LoopContext) -> Void
    ) {
        let id = context.random.token()
        var writer = XMLWriter()
        writer.open(copying: content, setting: ["from": account.description, "to": to.description, "id": id])
        writer.appendContent(of: content)
        writer.close()
        guard let request = Stanza(sent: EncodedStanza(writer.buffer)) else { preconditionFailure("the writer writes what the parser reads") }
        let mailbox = context.mailbox
        let deadline = mailbox.loop.scheduleTask(in: Self.answerWithin) { [self] in
            mailbox.run { [self] context in fail(request, StanzaError(.remoteServerTimeout), context) }
        }
        let pending = RequestsInName.Pending(account: account, asked: to, component: component, deadline: deadline, answered: answered)
        guard requestsInName.insert(pending, as: id) else {
            deadline.cancel()
            let refusal = Self.refusal(of: request, StanzaError(.resourceConstraint, .wait))
            return context.after { context in answered(refusal, context) }
        }
        withHome(of: account, bytes: request.element.byteCount, context) { [self] home, context in
            let stage = home.stage
            context.after { [self] context in
                switch stage {
                case .resident: iq(inName: request, kind, to: to, by: component, context)
                case .absent: fail(request, .serviceUnavailable, context)
                case .loading, .stale, .failed: fail(request, StanzaError(.internalServerError, .wait), context)
                }
            }
            if home.isResident { shardIdle(home) }
        }
    }

    private func fail(_ request: Stanza, _ error: StanzaError, _ context: LoopContext) {
        _ = answered(inName: Self.refusal(of: request, error), context)
        context.runEffects()
    }

    private static func refusal(of request: Stanza, _ error: StanzaError) -> Stanza {
        guard let stanza = Stanza(sent: StanzaBuilder.error(error, answering: request)) else { preconditionFailure("the writer writes what the parser reads") }
        return stanza
    }

    /// - Returns: whether it is the answer to a request in an account's name.
    func answered(inName stanza: Stanza, _ context: LoopContext) -> Bool {
        guard case .bare(let account)? = stanza.to, let id = stanza.id,
            let pending = requestsInName.take(id, where: { $0.account == account && $0.asked == stanza.from })
        else { return false }
        pending.deadline.cancel()
        context.after { context in pending.answered(stanza, context) }
        return true
    }

    /// What this server, or somebody who is here, answers to the bare address of an account. May be called under a shard's lock.
    func answerAccount(_ answer: EncodedStanza, at address: JID, _ context: LoopContext) {
        guard case .bare = address, answer.isIQ else { return }
        context.after { [self] context in
            guard let stanza = Stanza(sent: answer), case .iq(let type) = stanza.kind else { return }
            answered(stanza, type, context)
        }
    }
}

extension EncodedStanza {
    /// By how it begins.
    fileprivate var isIQ: Bool { bytes.readableBytesView.starts(with: Array("<iq".utf8)) }
}
