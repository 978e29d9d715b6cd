import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0433 Extended Channel Search")
struct ChannelSearchTests {
    // MARK: Terms

    private func terms(_ fields: KeyValuePairs<String, String>) throws -> ChannelSearchTerms {
        let type = "urn:xmpp:channel-search:0:search-params"
        return try ChannelSearchTerms(DataForm(.submit, type: type, fields: fields.map { DataForm.Field($0.key, nil, [$0.value]) }))
    }

    private func refusal(_ fields: KeyValuePairs<String, String>) -> StanzaError? {
        do { _ = try terms(fields) } catch { return error as? StanzaError }
        return nil
    }

    @Test("a search is for words, wherever they are allowed to be, or for everything (§6.1)")
    func fields() throws {
        #expect(try terms(["q": "cave"]).text == "cave")
        #expect(try terms(["q": "cave", "all": "0"]).texts == .all)
        #expect(try terms(["q": "cave", "sinaddress": "false", "sindescription": "0"]).texts == .name)
        #expect(try terms(["q": "", "all": "true"]).text == nil)
        #expect(try terms(["all": "1", "key": "{urn:xmpp:channel-search:0:order}address"]).includesRooms)
        #expect(try terms(["all": "1", "types": "xep-0369"]).includesRooms == false)
        #expect(try terms(["all": "1", "types": "xep-0045"]).includesRooms)
    }

    @Test("what cannot be searched for is refused with the condition that says why (§4.2.2)")
    func refused() {
        let cases: [(KeyValuePairs<String, String>, StanzaError.Condition, String)] = [
            (["q": "cave", "all": "1"], .badRequest, "conflicting-fields"),
            (["q": "cave", "sinname": "0", "sindescription": "0", "sinaddress": "0"], .badRequest, "conflicting-fields"),
            (["q": "", "sinname": "1"], .badRequest, "no-search-conditions"), (["all": "0"], .badRequest, "no-search-conditions"),
            (["q": "!?"], .badRequest, "invalid-search-terms"),
            (["all": "1", "key": "{urn:xmpp:channel-search:0:order}age"], .featureNotImplemented, "invalid-sort-key"),
        ]
        for (fields, condition, application) in cases {
            let error = refusal(fields)
            #expect(error?.condition == condition && error?.kind == .modify && error?.application?.local == application, "\(fields)")
        }
    }

    @Test("a search has so many bytes, and not one more")
    func length() {
        #expect(refusal(["q": String(repeating: "a", count: ChannelSearch.textBytesMax)]) == nil)
        #expect(refusal(["q": String(repeating: "a", count: ChannelSearch.textBytesMax + 1)])?.application?.local == "invalid-search-terms")
    }

    // MARK: In a server

    private let server = TestServer()
    private let rooms = "conference.capulet.example"

    private func open(_ name: String, _ configuration: String = "") -> TestClient {
        let client = server.online("\(name)-owner/desk")
        client.send("<presence to='\(name)@\(rooms)/owner'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        let type = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
        client.send(
            "<iq type='set' id='o' to='\(name)@\(rooms)'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>\(type)\(configuration)</x></query></iq>")
        client.forget()
        return client
    }

    private func field(_ name: String, _ value: String) -> String { "<field var='\(name)'><value>\(value)</value></field>" }

    private func search(_ client: TestClient, _ fields: String, _ page: String = "") -> ElementView? {
        let type = field("FORM_TYPE", "urn:xmpp:channel-search:0:search-params")
        client.forget()
        client.send(
            "<iq type='get' id='s' to='\(rooms)'><search xmlns='urn:xmpp:channel-search:0:search'>\(page)<x xmlns='jabber:x:data' type='submit'>\(type)\(fields)</x></search></iq>")
        return client.received().first?.child("result")
    }

    private func addresses(_ result: ElementView?) -> [String] { result?.children.compactMap { $0.attribute("address") } ?? [] }

    private func text(_ name: String, of result: ElementView?) -> String? {
        result?.children.first { $0.localName == "item" }?.children.first { $0.localName == name }?.text
    }

    @Test("all public rooms come by pages in the order of their addresses, and the count is of all (§5, XEP-0059)")
    func pages() {
        let owners = ["a", "b", "c"].map { open($0) } + [open("hidden", field("muc#roomconfig_publicroom", "0"))]
        func page(_ set: String) -> ElementView? {
            search(owners[0], field("all", "1"), "<set xmlns='http://jabber.org/protocol/rsm'>\(set)</set>")
        }
        let first = page("<max>2</max>")
        #expect(addresses(first) == ["a@\(rooms)", "b@\(rooms)"])
        let set = first?.children.first { $0.localName == "set" }
        #expect(set?.children.map(\.text) == ["a@\(rooms)", "b@\(rooms)", "3"])
        #expect(addresses(page("<max>2</max><after>b@\(rooms)</after>")) == ["c@\(rooms)"])
        #expect(addresses(page("<max>2</max><before/>")) == ["b@\(rooms)", "c@\(rooms)"])
        #expect(addresses(search(owners[0], field("all", "1") + field("types", "xep-0369"))) == [])
    }

    @Test("a page has so many rooms at most, however many somebody wants")
    func pageMax() {
        let client = server.online("hag66/pda")
        server.fill(rooms, count: ChannelSearch.pageMax + 1)
        #expect(addresses(search(client, field("all", "1"), "<set xmlns='http://jabber.org/protocol/rsm'><max>1000</max></set>")).count == ChannelSearch.pageMax)
    }

    @Test("rooms come by how many are in them, then those that nobody is in, by pages from either end (§6.1)")
    func byOccupants() {
        for number in 1...3 {
            _ = open("r\(number)", field("muc#roomconfig_persistentroom", "1"))
            for guest in 1..<number { _ = server.occupant("guest\(guest)/x\(number)", as: "g\(guest)", of: RoomOnPaper.bare("r\(number)@\(rooms)")) }
        }
        _ = open("hidden", field("muc#roomconfig_publicroom", "0"))
        server.fill(rooms, count: 3)
        let client = server.online("hag66/pda")
        func page(_ set: String, _ fields: String = "") -> [String] {
            let key = fields.isEmpty ? field("all", "1") : fields
            let result = search(
                client, key + field("key", "{urn:xmpp:channel-search:0:order}nusers"), "<set xmlns='http://jabber.org/protocol/rsm'>\(set)</set>")
            return addresses(result).map { String($0.prefix { $0 != "@" }) }
        }
        let all = ["r3", "r2", "r1", "room0", "room1", "room2"]
        #expect(page("") == all)
        for size in 1...4 {
            var (forwards, backwards) = ([String](), [String]())
            while forwards.count < all.count { forwards += page("<max>\(size)</max>" + (forwards.last.map { "<after>\($0)@\(rooms)</after>" } ?? "")) }
            while backwards.count < all.count {
                backwards = page("<max>\(size)</max><before>" + (backwards.first.map { "\($0)@\(rooms)" } ?? "") + "</before>") + backwards
            }
            #expect(forwards == all && backwards == all)
        }
        #expect(page("", field("q", "r2")) == ["r2"])
    }

    @Test("a room that does not tell how many are in it has no place by that (XEP-0045 §13.4)")
    func byOccupantsUnseen() {
        let owner = open("b", field("muc#roomconfig_membersonly", "1"))
        server.fill(rooms, count: 1)
        _ = open("c")
        let byOccupants = field("all", "1") + field("key", "{urn:xmpp:channel-search:0:order}nusers")
        #expect(addresses(search(server.online("hag66/pda"), byOccupants)) == ["c", "b", "room0"].map { "\($0)@\(rooms)" })
        #expect(addresses(search(owner, byOccupants)) == ["b", "c", "room0"].map { "\($0)@\(rooms)" })
    }

    @Test("of a room that somebody is in there is more to tell, but who is in it only to those who may look in (§6.2)")
    func inUse() {
        let owner = open("cave", field("muc#roomconfig_membersonly", "1") + field("muc#roomconfig_lang", "en") + field("muc#roomconfig_whois", "anyone"))
        let stranger = server.online("hag66/pda")
        let seen = search(owner, field("q", "cave"))
        #expect(text("nusers", of: seen) == "1" && text("is-open", of: seen) == "false" && text("language", of: seen) == "en")
        #expect(text("anonymity-mode", of: seen) == "{urn:xmpp:channel-search:0:anonymity}none")
        let hidden = search(stranger, field("q", "cave"))
        #expect(addresses(hidden) == ["cave@\(rooms)"] && text("name", of: hidden) == "cave" && text("nusers", of: hidden) == nil)
    }
}

extension TestServer {
    /// Rooms that nobody is in.
    fileprivate func fill(_ service: String, count: Int) {
        for number in 0..<count {
            let record = RoomRecord(isPersistent: true, isPublic: true)
            store.submit([.room(.create(address("room\(number)@\(service)"), record, []))])
        }
        store.commit()
        run()
    }
}
