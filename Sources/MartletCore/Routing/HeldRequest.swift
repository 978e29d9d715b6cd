package import MartletXMPP

/// A request whose answer comes when it comes. Exactly one of its functions is called, once, on whatever loop; with or without a lock held.
package struct HeldRequest: Sendable {
    package let request: IQRequest
    package let router: Router
    private let asker: Asker

    init(_ request: IQRequest, _ asker: Asker, _ router: Router) {
        self.request = request
        self.asker = asker
        self.router = router
    }

    /// Whether an account of this server asks as such: by a session of its own, or by a component that may do so in its name (XEP-0356). What is in
    /// `from` alone does not say that.
    package var isByAccount: Bool { asker.isAccount }

    /// Answers once everything up to `ticket` is on disk; with an error if it is not (P7).
    package func answer(_ reply: IQReply, after ticket: CommitTicket, _ context: LoopContext) {
        if ticket <= context.settled {
            return context.after { [self] context in
                router.reply(reply, to: request, asker.origin, context)
                asker.completion?.complete(.none, in: context)
            }
        }
        context.afterCommit(ticket) { [self] context, outcome in
            switch outcome {
            case .success: router.reply(reply, to: request, asker.origin, context)
            case .failure(let error): router.bounceRefused(request.stanza, error, asker.origin, context)
            }
        }
        asker.completion?.complete(ticket, in: context)
    }

    package func refuse(_ error: StanzaError, _ context: LoopContext) {
        refuse(with: StanzaBuilder.error(error, answering: request.stanza), context)
    }

    /// - Parameter answer: an error to whoever asked.
    package func refuse(with answer: EncodedStanza, _ context: LoopContext) {
        context.after { [self] context in
            router.send(answer, from: request.owner, to: request.actor, asker.origin, context)
            asker.completion?.complete(.none, in: context)
        }
    }

    /// Answers with what is read from the disk.
    package func answer(_ context: LoopContext, by work: @escaping @Sendable (Router) async throws(StanzaError) -> IQReply) {
        router.answer(request, asker, on: context.mailbox, { _, router async throws(StanzaError) in try await work(router) })
    }
}

// MARK: Of a session that goes

extension HeldRequest {
    /// Whether the session that asks was let in by a certificate of the account's own (XEP-0257).
    package func isCertified(by certificate: CertificateFingerprint) -> Bool { router.certificate(of: request.actor) == certificate }

    /// Ends the session that asks, behind the answer that it has been given on this loop.
    package func endAsker(_ error: StreamError, _ context: LoopContext) {
        context.after { [self] context in
            guard let session = asker.origin else { return }
            context.post(.end(session, error), to: session.mailbox)
        }
    }
}

// MARK: Of an account that goes

extension HeldRequest {
    /// Deletes the account of whoever asks, answers, and ends the session that asked, the account's last (XEP-0077 §3.2).
    ///
    /// - Parameter done: runs once all is on disk, and not if it was refused.
    package func deleteAccount(_ context: LoopContext, _ done: @escaping @Sendable () -> Void) {
        let mailbox = context.mailbox
        router.deleteAccount(request.actor.bare, askedBy: asker.origin, context) { [self] outcome in
            mailbox.run { context in conclude(outcome, context, done) }
        }
    }

    private func conclude(_ outcome: Router.AccountOutcome, _ context: LoopContext, _ done: @escaping @Sendable () -> Void) {
        switch outcome {
        case .success:
            done()
            answer(.empty, after: .none, context)
        case .failure(let error): refuse(StanzaError(refusal: error), context)
        }
        // Behind the answer. The session has left its account already, whatever came of it.
        context.after { [self] context in
            guard let session = asker.origin else { return }
            context.post(.end(session, Router.accountDeleted), to: session.mailbox)
        }
    }
}
