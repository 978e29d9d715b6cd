import MartletCore
import MartletXML
import MartletXMPP

/// vCards that are read from the disk: the room's own (XEP-0486), and those of its occupants, which are their accounts' (XEP-0045 §17.4).
extension MultiUserChat {
    /// - Returns: `nil` if the request is another one. Under the lock.
    func readCard(_ arrival: Arrival, _ type: IQType, _ home: RoomHome, _ router: Router, _ context: LoopContext) -> Progress? {
        guard type == .get, arrival.asksForCard, let room = home.room else { return nil }
        let actor = room.standing(of: arrival.from)
        guard !room.isLocked || actor.affiliation == .owner else { return refuse(arrival, .itemNotFound("the room is not ready yet"), router, context) }
        if let refusal = room.configuration.refusal(of: .seeOccupants, by: actor) { return refuse(arrival, refusal, router, context) }
        let id = room.id
        answer(arrival, router, context) { () throws(StanzaError) in
            do throws(StoreError) {
                if let card = try await router.store.document(id, VCardTemp.key) { return IQReply { $0.raw(card) } }
            } catch { throw StanzaError(.internalServerError, .wait) }
            throw .itemNotFound()
        }
        return .pending
    }

    /// What an occupant's account on this server answers comes from the occupant's address, and who asks is to the account another occupant.
    /// Accounts of other servers are asked by ``Room/pass(_:_:to:from:_:_:)``.
    ///
    /// - Returns: `nil` if the request is another one. Under the lock.
    func readCard(
        ofOccupant nickname: String, _ arrival: Arrival, _ type: IQType, _ home: RoomHome, _ router: Router, _ context: LoopContext
    ) -> Progress? {
        guard type == .get, arrival.asksForCard, case .full(let session) = arrival.from, let occupants = home.room?.occupants,
            let sender = occupants.occupant(ofSession: session), let account = occupants.occupant(ofNickname: nickname)?.account,
            context.hosts.host(of: account) != nil
        else { return nil }
        var request = arrival.stanza
        (request.from, request.to) = (.full(sender.address), .bare(account))
        let asked = request
        context.after { context in
            router.ask(asked, of: account, context) { outcome, context in
                switch outcome {
                case .success(let reply): router.answer(reply.encoded(answering: arrival.stanza), to: arrival, context)
                case .failure(let error): router.refuse(arrival, error, context)
                }
                arrival.completion?.complete(.done, in: context)
            }
        }
        return .pending
    }

    private func refuse(_ arrival: Arrival, _ error: StanzaError, _ router: Router, _ context: LoopContext) -> Progress {
        router.refuse(arrival, error, context)
        return .done
    }
}

extension Arrival {
    fileprivate var asksForCard: Bool { stanza.element.root.asksForCard }
}

extension ElementView {
    /// Whether a request has a vCard as its one child.
    var asksForCard: Bool {
        var children = children.makeIterator()
        return children.next()?.isNamed("vCard", .vCard) == true && children.next() == nil
    }
}
