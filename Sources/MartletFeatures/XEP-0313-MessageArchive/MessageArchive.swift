package import MartletCore
import MartletXML
package import MartletXMPP
package import NIOCore

/// What an account has said and heard, to be read again on any device: queries, pages, metadata. What is kept is decided here and by
/// the account's preferences (XEP-0441); keeping is the message log's.
///
/// Only the account itself is answered (`IQRoute.Scope.ownAccount`).
package struct MessageArchive: IQResponder, ArchivingStage {
    package static let specification = Specification.xep(313, "Message Archive Management", version: "1.1.3", note: "for accounts")
    package var disco: DiscoFeatures { DiscoFeatures(account: [.archive, .archiveExtended, .archiveGroupchatField, .archiveFullText]) }
    private let `default`: ArchivePreferences.Default
    /// What accounts have published, which is asked in the same way (XEP-0442).
    private let eventing: PersonalEventing?

    /// - Parameter default: for accounts that have not said what they want.
    package init(default: ArchivePreferences.Default, eventing: PersonalEventing?) {
        self.default = `default`
        self.eventing = eventing
    }

    package var routes: [IQRoute] {
        [
            .suspending(.set, "query", .archive) { request, router throws(StanzaError) in
                request.child.hasAttribute("node") ? try await ofNode(request, router) : try await Self.answer(request, router)
            },
            .suspending(.get, "query", .archive) { request, router throws(StanzaError) in
                request.child.hasAttribute("node") ? try await ofNode(request, router) : ArchiveAnswers.form()
            },
            .suspending(.get, "metadata", .archive) { request, router throws(StanzaError) in
                let account = try Self.account(request)
                return try await reading { () throws(StoreError) in
                    ArchiveAnswers.metadata(try await router.store.archiveEnds(of: account))
                }
            },
        ]
    }

    // MARK: What is kept

    package func isWorthArchiving(_ message: borrowing Stanza) -> Bool { ArchiveRules.isWorthKeeping(message) }

    package func archives(with peer: JID, _ home: AccountHome) -> Bool {
        home.archives(with: peer, default: `default`)
    }

    // MARK: As somebody logs in

    package func metadata(of account: AccountID, upTo view: UInt64, _ router: Router) async throws(StoreError) -> ByteBuffer? {
        var ends = try await router.store.archiveEnds(of: account)
        if let last = ends?.last, last.view > view {
            // Something came in the moment since: it is sent, as what comes live.
            var request = ArchiveRequest(limit: 1)
            request.before = view + 1
            request.isBackwards = true
            let message = try await router.store.archive(of: account, request)?.messages.last
            if let message { ends?.last = ArchiveEnds.End(view: message.view, time: message.time) } else { ends = nil }
        }
        return ArchiveAnswers.metadata(ends).payload
    }

    // MARK: Queries

    private static func account(_ request: IQRequest) throws(StanzaError) -> AccountID {
        guard let account = request.account else { throw .serviceUnavailable }
        return account
    }

    private func ofNode(_ request: IQRequest, _ router: Router) async throws(StanzaError) -> IQReply {
        let query: PubSubRequest
        do throws(PubSubError) { query = try .archive(request.child, request.kind == .get ? .get : .set) } catch { throw error.stanza }
        guard let eventing else { throw .serviceUnavailable }
        guard let mailbox = request.mailbox else { throw .internalServerError }
        return try await OwnNodes(eventing: eventing, account: request.owner, id: request.account ?? .nobody, router: router, mailbox: mailbox)
            .answer(query, to: request.actor)
    }

    private static func answer(_ request: IQRequest, _ router: Router) async throws(StanzaError) -> IQReply {
        let account = try account(request)
        guard case .full(let session) = request.actor else { throw .serviceUnavailable }
        let query = try ArchiveQuery(request.child)
        let found = try await reading { () throws(StoreError) in try await router.archive(of: request.owner, account, query.request) }
        guard let page = found else { throw .itemNotFound() }
        var reply = ArchiveAnswers.fin(page)
        let messages = query.isFlipped ? page.messages.reversed() : page.messages
        reply.before = messages.compactMap { ArchiveAnswers.result($0, of: request.owner, to: session, queryID: query.queryID) }
        return reply
    }
}

/// What the store cannot answer now, the client may ask again later.
private func reading<Value>(_ body: () async throws(StoreError) -> Value) async throws(StanzaError) -> Value {
    do throws(StoreError) { return try await body() } catch { throw StanzaError(.internalServerError, .wait) }
}
