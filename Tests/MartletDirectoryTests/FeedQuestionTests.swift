import MartletCore
import MartletDirectory
import MartletLDAP
import Testing

@Suite("What a directory is asked to be followed, and what it says")
struct FeedQuestionTests {
    private let uuid = EntryUUID.number(7)
    private var entry: LDAPEntry {
        LDAPEntry("uid=a", [LDAPAttribute("entryUUID", uuid.description), LDAPAttribute("modifyTimestamp", "20270115080000Z"), LDAPAttribute("uSNChanged", "41")])
    }
    private func question(_ detection: ChangeDetection) -> FeedQuestion {
        FeedQuestion(base: "ou=people", filter: .present("uid"), attributes: ["uid"], identifier: "entryUUID", detection: detection)
    }

    @Test("content synchronization is asked for with the cookie, and only that (RFC 4533 §2.2)")
    func contentSync() throws {
        let search = question(.contentSync).search(.contentSync(cookie: [1]))
        #expect(search.isPersistent && !search.isPaged && search.request.attributes == ["uid"] && search.request.filter == .present("uid"))
        let control = try #require(try search.controls.first(of: SyncRequestControl.self))
        #expect(control.cookie == [1] && control.mode == .refreshAndPersist && search.controls[0].isCritical)
    }

    @Test("changes are asked for from a moment on, in whole seconds, or from a number on")
    func changed() {
        let time = question(.polling(.modifyTimestamp)).search(.changed(since: .modifyTimestamp(1_800_000_000_500)))
        #expect(time.request.filter == .and([.present("uid"), .greaterOrEqual("modifyTimestamp", Array("20270115080000Z".utf8))]))
        let number = question(.polling(.updateSequenceNumber)).search(.changed(since: .updateSequenceNumber(41)))
        #expect(number.request.filter == .and([.present("uid"), .greaterOrEqual("uSNChanged", Array("41".utf8))]) && number.isPaged)
        #expect(question(.polling(.modifyTimestamp)).search(.identifiers).request.attributes == ["entryUUID"])
    }

    @Test("what synchronization says is understood (RFC 4533 §2.3 to §2.5)")
    func sync() {
        let question = question(.contentSync)
        func message(_ item: SearchItem) -> FeedMessage? { question.message(item, of: .contentSync(cookie: nil)) }
        for (state, expected) in [(SyncStateControl.State.present, SyncMessage.EntryState.present), (.add, .add), (.modify, .modify), (.delete, .delete)] {
            let control = SyncStateControl(state, uuid: uuid.octets, cookie: [2]).control(isCritical: false)
            #expect(message(.entry(entry, controls: [control])) == .sync(.entry(entry, expected, uuid, cookie: [2])))
        }
        let infos: [(SyncInfo, SyncMessage)] = [
            (.newCookie([1]), .newCookie([1])), (.refreshDelete(cookie: nil, isDone: false), .refreshDelete(isDone: false)),
            (.refreshPresent(cookie: [1], isDone: true), .refreshPresent(cookie: [1])),
            (.idSet(cookie: nil, refreshDeletes: true, uuids: [uuid.octets]), .identifiers([uuid], areGone: true)),
        ]
        for (info, expected) in infos { #expect(message(.intermediate(info.response, controls: [])) == .sync(expected)) }
        #expect(message(.intermediate(IntermediateResponse(name: "1.2.3"), controls: [])) == nil)
        let done = SyncDoneControl(cookie: [1], refreshDeletes: true).control(isCritical: false)
        #expect(message(.done(LDAPResult(.success), controls: [done])) == .sync(.result(.success, done: SyncDone(cookie: [1], refreshDeletes: true))))
        #expect(message(.done(LDAPResult(.busy), controls: [])) == .sync(.result(.busy)))
    }

    @Test("what cannot be understood ends the search, so that nobody is gone who was not named")
    func notUnderstood() {
        let sync = question(.contentSync)
        let broken = LDAPControl(SyncStateControl.type, value: [1, 2, 3])
        for controls in [[], [broken]] { #expect(sync.message(.entry(entry, controls: controls), of: .contentSync(cookie: nil)) == .sync(.result(.protocolError))) }
        let nameless = LDAPEntry("uid=a")
        #expect(question(.polling(.modifyTimestamp)).message(.entry(nameless, controls: []), of: .everything) == .polled(.result(.noSuchAttribute)))
        #expect(question(.persistentSearch).message(.entry(nameless, controls: []), of: .identifiers) == .persistent(.result(.noSuchAttribute)))
    }

    @Test("entries that are read have their identifier and when they were changed")
    func read() {
        let polling = question(.polling(.modifyTimestamp))
        #expect(polling.message(.entry(entry, controls: []), of: .everything) == .polled(.entry(entry, uuid, changed: 1_800_000_000_000)))
        #expect(polling.message(.entry(entry, controls: []), of: .identifiers) == .polled(.identifier(uuid)))
        #expect(question(.polling(.updateSequenceNumber)).message(.entry(entry, controls: []), of: .everything) == .polled(.entry(entry, uuid, changed: 41)))
        var active = question(.polling(.updateSequenceNumber))
        active.identifier = "objectGUID"
        let binary = LDAPEntry("cn=a", [LDAPAttribute("objectGUID", [uuid.octets])])
        #expect(active.message(.entry(binary, controls: []), of: .identifiers) == .polled(.identifier(uuid)))
    }

    @Test("a persistent search tells deletions from other changes (draft-ietf-ldapext-psearch-03 §5)")
    func persistent() {
        let question = question(.persistentSearch)
        for change in [EntryChangeControl.Change.add, .delete, .modify, .modifyDN] {
            let control = EntryChangeControl(change).control(isCritical: false)
            let message = question.message(.entry(entry, controls: [control]), of: .persistentSearch)
            #expect(message == .persistent(.change(entry, uuid, isDeletion: change == .delete)))
        }
        #expect(question.message(.done(LDAPResult(.success), controls: []), of: .persistentSearch) == .persistent(.changesEnded(.success)))
        #expect(question.message(.entry(entry, controls: []), of: .everything) == .persistent(.entry(entry, uuid)))
    }

    @Test("a second one is for entries that are not looked for: what they are is not asked, and that it cannot be is no end")
    func persistentOthers() throws {
        let question = question(.persistentSearch)
        let search = question.search(.persistentSearchOfOthers)
        #expect(search.request.filter == .not(.present("uid")) && search.request.attributes == ["entryUUID"] && search.isPersistent)
        let control = try #require(try search.controls.first(of: PersistentSearchControl.self))
        #expect(control.changes == [.modify, .modifyDN] && control.changesOnly)
        #expect(question.message(.entry(entry, controls: []), of: .persistentSearchOfOthers) == .persistent(.otherChange))
        #expect(question.message(.done(LDAPResult(.unwillingToPerform), controls: []), of: .persistentSearchOfOthers) == nil)
    }
}
