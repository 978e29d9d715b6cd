import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// What the server does with an account's nodes in the account's own name, where clients of an older protocol keep the same thing elsewhere.
struct OwnNodes: Sendable {
    let eventing: PersonalEventing
    let account: BareJID
    let id: AccountID
    let router: Router
    /// Of the loop on which it is done.
    let mailbox: LoopMailbox

    /// All items of a node, in the order in which they were published; none if there is no such node.
    func items(of node: String) async throws(StanzaError) -> [NodeItem] {
        do throws(PubSubError) {
            guard case .read(let reading) = try await ask(.items(.init(node: node))) else { return [] }
            return try await read(reading)
        } catch {
            if error.stanza.condition == .itemNotFound { return [] }
            throw error.stanza
        }
    }

    func item(_ name: String, of node: String) async throws(StanzaError) -> NodeItem? {
        do throws(PubSubError) {
            guard case .read(let reading) = try await ask(.items(.init(node: node, names: [name]))) else { return nil }
            return try await read(reading).first
        } catch {
            if error.stanza.condition == .itemNotFound { return nil }
            throw error.stanza
        }
    }

    /// What a node is asked, for one of the account's sessions.
    func answer(_ request: PubSubRequest, to session: JID) async throws(StanzaError) -> IQReply {
        do throws(PubSubError) {
            switch try await ask(request, by: session) {
            case .reply(let reply): return reply
            case .read(let reading): return reading.reply(try await read(reading))
            }
        } catch {
            throw error.stanza
        }
    }

    private func read(_ reading: any ItemsAnswer) async throws(PubSubError) -> [NodeItem] {
        do throws(StanzaError) { return try await PubSubKeeping(router: router).items(reading) } catch { throw PubSubError(error) }
    }

    /// Publishes one item.
    ///
    /// - Parameters:
    ///   - configuration: fields that the node has to have; one that has others is configured anew.
    ///   - newer: refused if the owner has published something since, which is to be carried out yet.
    func publish(
        _ name: String, _ payload: ByteBuffer, at node: String, _ configuration: [String: String],
        unless newer: (CardConversions.Change, after: CardConversions.Change)
    ) async throws(StanzaError) {
        func form(_ type: String) -> DataForm {
            var form = DataForm(.submit, type: type)
            form.fields += configuration.sorted { $0.key < $1.key }.map { DataForm.Field($0.key, nil, [$0.value]) }
            return form
        }
        var publication = PubSubRequest.Publication(node: node, items: [.init(name: name, payload: payload)])
        publication.options = form(NodeConfiguration.publishOptionsType)
        do throws(PubSubError) {
            do throws(PubSubError) { _ = try await ask(.publish(publication), unless: newer) } catch {
                guard error.stanza.condition == .conflict else { throw error }
                _ = try await ask(.configure(node: node, form(NodeConfiguration.formType)), unless: newer)
                _ = try await ask(.publish(publication), unless: newer)
            }
        } catch {
            throw error.stanza
        }
    }

    /// A node has no items any more.
    func purge(_ node: String) async throws(StanzaError) {
        do throws(PubSubError) { _ = try await ask(.purge(node: node)) } catch { throw error.stanza }
    }

    /// Several items come and go in one commit, or none does.
    func replace(_ replacement: PubSubRequest.Replacement) async throws(StanzaError) {
        do throws(PubSubError) { _ = try await ask(.replace(replacement)) } catch { throw error.stanza }
        guard replacement.node == Namespace.bookmarks.name, router.withResidentHome(account, OlderBookmarks.isWanted) == true else { return }
        mailbox.run { context in
            eventing.note(.bookmarks, self, context)
            context.runEffects()
        }
    }

    /// What a form of the configuration says.
    func field(_ name: String, of node: String) async throws(StanzaError) -> String? {
        do throws(PubSubError) {
            guard case .reply(let reply) = try await ask(.configuration(node: node)), let payload = reply.payload,
                let element = try? parseElement(payload, limits: .ownWriting),
                let x = element.root.firstChild?.firstChild("x", .dataForms), let form = try? DataForm(x)
            else { return nil }
            return form.fields.first { $0.name == name }?.values.first
        } catch {
            if error.stanza.condition == .itemNotFound { return nil }
            throw error.stanza
        }
    }

    /// Once it is on disk.
    private func ask(
        _ request: PubSubRequest, by session: JID? = nil, unless newer: (CardConversions.Change, after: CardConversions.Change)? = nil
    ) async throws(PubSubError) -> NodeEffects.Answer {
        let keeping = PubSubKeeping(router: router)
        let actor = session ?? .bare(account)
        let result: Result<NodeEffects.Answer, PubSubError> = await withCheckedContinuation { continuation in
            mailbox.run { context in
                eventing.enter(account, bytes: 0, keeping, context) { _, home, context in
                    guard let home else { return continuation.resume(returning: .failure(PubSubError(StanzaError(.internalServerError, .wait)))) }
                    keeping.carryOut(home, context) { home, context, effects throws(PubSubError) in
                        guard let account = home.shard.residentAccount(home.address) else { throw PubSubError(StanzaError(.internalServerError, .wait)) }
                        // Under the lock under which clients publish.
                        if let newer, account.owedConversions.has(newer.0, after: newer.after) {
                            throw PubSubError(StanzaError(.unexpectedRequest, .wait))
                        }
                        try home.nodes.take(request, by: actor, AccountAudience(account, context), keeping.moment(context), &effects)
                    } done: { result, context in
                        switch result {
                        case .failure(let error): continuation.resume(returning: .failure(error))
                        case .success((let answer, let ticket)):
                            context.afterCommit(ticket) { _, outcome in
                                let isWritten = (try? outcome.get()) != nil
                                continuation.resume(
                                    returning: isWritten ? .success(answer) : .failure(PubSubError(StanzaError(.internalServerError, .wait))))
                            }
                        }
                    }
                }
                context.runEffects()
            }
        }
        return try result.get()
    }
}
