import MartletCore
import MartletXML
import MartletXMPP

/// What was said in a room, read again (XEP-0313), and taken out of it (XEP-0425): what waits for the disk.
extension MultiUserChat {
    /// - Returns: `nil` if the request is another one. Under the lock.
    func readArchive(_ arrival: Arrival, _ type: IQType, _ home: RoomHome, _ router: Router, _ context: LoopContext) -> Progress? {
        var children = arrival.stanza.element.root.children.makeIterator()
        guard let room = home.room, let child = children.next(), children.next() == nil else { return nil }
        let isQuery = child.isNamed("query", .archive)
        guard isQuery || child.isNamed("metadata", .archive) || (type == .set && child.isNamed("moderate", .moderation)) else { return nil }
        // There are none: the request is one that nobody understands.
        if settings.limits.archiving == .never, !child.isIn(.moderation) { return nil }
        do throws(StanzaError) {
            if child.isIn(.moderation) { return try moderate(arrival, try ModerationRequest(child), room, router, context) }
            if let refusal = room.configuration.refusal(of: .readArchive, by: room.standing(of: arrival.from)) { throw refusal }
            switch (type, isQuery) {
            case (.get, true):
                router.answer(ArchiveAnswers.form().encoded(answering: arrival.stanza), to: arrival, context)
                return .done
            case (.set, true): return try query(arrival, try ArchiveQuery(child), room, after: home.burial, router, context)
            default: return metadata(arrival, room, router, context)
            }
        } catch {
            router.refuse(arrival, error, context)
            return .done
        }
    }

    private func query(
        _ arrival: Arrival, _ query: ArchiveQuery, _ room: Room, after burial: Task<Void, Never>?, _ router: Router, _ context: LoopContext
    ) throws(StanzaError) -> Progress {
        guard case .full(let session) = arrival.from else { throw .badRequest("who asks an archive has a resource") }
        var request = query.request
        // Nothing that is said from here on.
        request.before = min(request.before ?? .max, room.lastViewID + 1)
        let (id, address, bounded) = (room.id, room.address, request)
        let seesAddresses = room.seesAddresses(room.standing(of: arrival.from))
        answer(arrival, router, context) { () throws(StanzaError) in
            // Who has heard that something was taken back does not find it there.
            await burial?.value
            guard let page = try await reading({ () throws(StoreError) in try await router.store.archive(of: id, bounded) }) else {
                throw .itemNotFound()
            }
            var reply = ArchiveAnswers.fin(page)
            let messages = query.isFlipped ? page.messages.reversed() : page.messages
            reply.before = messages.compactMap { message in
                ArchiveAnswers.result(seesAddresses ? message : message.withoutAuthor, of: address, to: session, queryID: query.queryID)
            }
            return reply
        }
        return .pending
    }

    private func metadata(_ arrival: Arrival, _ room: Room, _ router: Router, _ context: LoopContext) -> Progress {
        let id = room.id
        answer(arrival, router, context) { () throws(StanzaError) in
            ArchiveAnswers.metadata(try await reading { () throws(StoreError) in try await router.store.archiveEnds(of: id) })
        }
        return .pending
    }

    // MARK: Moderation

    /// The message is looked up first; whether the moderator still is one is looked at when it is known.
    private func moderate(
        _ arrival: Arrival, _ request: ModerationRequest, _ room: Room, _ router: Router, _ context: LoopContext
    ) throws(StanzaError) -> Progress {
        if let refusal = room.configuration.refusal(of: .moderateMessages, by: room.standing(of: arrival.from)) { throw refusal }
        let (id, address, mailbox) = (room.id, room.address, arrival.origin?.mailbox ?? context.mailbox)
        var search = ArchiveRequest(limit: 1)
        search.ids = [request.message]
        Task(executorPreference: router.executor) { [self, search] in
            let original = (try? await router.store.archive(of: id, search))?.messages.first?.stanza
            mailbox.run { context in
                let progress = moderate(arrival, request, original, at: address, router, context)
                arrival.completion?.complete(progress, in: context)
                context.runEffects()
            }
        }
        return .pending
    }

    private func moderate(
        _ arrival: Arrival, _ request: ModerationRequest, _ original: EncodedStanza?, at address: BareJID, _ router: Router, _ context: LoopContext
    ) -> Progress {
        let shard = router.shard(of: address)
        return shard.withLock {
            guard let home = shard.serviceHome(address) as? RoomHome, home.stage == .ready, home.room != nil else {
                router.refuse(arrival, StanzaError(.internalServerError, .wait), context)
                return .done
            }
            var effects = RoomEffects()
            do throws(StanzaError) {
                try home.room?.moderate(request, original, by: arrival.from, moment(router, context), &effects)
                effects.actions.insert(.answer(IQReply.empty.encoded(answering: arrival.stanza)), at: 0)
            } catch {
                effects = RoomEffects()
                effects.actions = [.refuse(error)]
            }
            return perform(effects, arrival, home, router, context)
        }
    }

    // MARK: Answers

    /// The one place where a request to a room meets a task.
    func answer(
        _ arrival: Arrival, _ router: Router, _ context: LoopContext, _ work: @escaping @Sendable () async throws(StanzaError) -> IQReply
    ) {
        let mailbox = arrival.origin?.mailbox ?? context.mailbox
        Task(executorPreference: router.executor) {
            let outcome: Result<IQReply, StanzaError>
            do throws(StanzaError) { outcome = .success(try await work()) } catch { outcome = .failure(error) }
            mailbox.run { context in
                switch outcome {
                case .success(let reply):
                    for stanza in reply.before { router.answer(stanza, to: arrival, context) }
                    router.answer(reply.encoded(answering: arrival.stanza), to: arrival, context)
                case .failure(let error): router.refuse(arrival, error, context)
                }
                arrival.completion?.complete(.done, in: context)
                context.runEffects()
            }
        }
    }
}

/// What the store cannot answer now, one may ask again later.
private func reading<Value>(_ body: () async throws(StoreError) -> Value) async throws(StanzaError) -> Value {
    do throws(StoreError) { return try await body() } catch { throw StanzaError(.internalServerError, .wait) }
}

extension LoggedMessage {
    /// For those who do not see addresses in the room.
    fileprivate var withoutAuthor: LoggedMessage {
        guard var message = Stanza(sent: stanza) else { return self }
        message.omitChildren("x", .mucUser)
        return LoggedMessage(view: view, time: time, stanza: message.encoded(to: nil))
    }
}
