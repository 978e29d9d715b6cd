import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Cards of which a directory says a part (XEP-0054, XEP-0292, XEP-0398)")
struct ProfileTests {
    private let people = InMemoryProfiles()
    private let server: TestServer

    init() { server = TestServer(profiles: people) }

    // MARK: What a directory says

    private static let picture: [UInt8] = [0xFF, 0xD8, 0xFF, 0xE0] + Array("Juliet".utf8)
    private static let other: [UInt8] = [0xFF, 0xD8, 0xFF, 0xE0] + Array("Rosaline".utf8)
    private static func photo(_ bytes: [UInt8]) -> String { "<PHOTO><TYPE>image/jpeg</TYPE><BINVAL>\(Base64.encode(bytes))</BINVAL></PHOTO>" }
    private static func digest(_ bytes: [UInt8]) -> String {
        ScramHash.sha1.digest(bytes).map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }

    private static let name = "<FN>Juliet Capulet</FN><N><FAMILY>Capulet</FAMILY><GIVEN>Juliet</GIVEN></N>"
    private static let phone = "<TEL><WORK/><VOICE/><NUMBER>+39 045 8034303</NUMBER></TEL>"
    private static let title = "<TITLE>Heiress</TITLE>"

    private static func profile(_ content: String) -> Profile {
        Profile(
            card: ByteBuffer(string: "<vCard xmlns='vcard-temp'>\(content)</vCard>"), owned: ["FN", "N", "EMAIL", "PHOTO", "ORG"], preset: ["TITLE", "URL"],
            writable: ["TEL"])
    }

    /// The directory knows Juliet, and has said so.
    private func introduce(_ content: String = name + phone + title, on server: TestServer? = nil, _ change: (inout Profile) -> Void = { _ in }) {
        let server = server ?? self.server
        var profile = Self.profile(content)
        change(&profile)
        if server.store.contents[server.address("juliet")] == nil { server.createAccount("juliet") }
        say(profile, on: server)
    }

    private func say(_ profile: Profile?, on server: TestServer? = nil) {
        let server = server ?? self.server
        people[server.address("juliet")] = profile
        let outcome = server.put([(server.address("juliet"), profile)])
        if case .success? = outcome { return finish(server) }
        Issue.record("what the directory says was not put: \(String(describing: outcome))")
    }

    /// What is done beside, in turns with the disk, is done.
    private func finish(_ server: TestServer? = nil) {
        for _ in 0..<50 { (server ?? self.server).run() }
    }

    // MARK: What people do

    private func set(_ content: String, _ client: TestClient) -> TestStanza? {
        client.forget()
        client.send("<iq type='set' id='s'><vCard xmlns='vcard-temp'>\(content)</vCard></iq>")
        finish()
        return client.receivedBesidesPresence().first { $0.id == "s" }
    }

    private func ask(_ content: String, _ client: TestClient) -> String {
        client.forget()
        client.send("<iq type='get' id='v' to='juliet@capulet.example'>\(content)</iq>")
        return client.receivedBesidesPresence().first { $0.id == "v" }?.description ?? ""
    }

    private func card(_ client: TestClient) -> String { ask("<vCard xmlns='vcard-temp'/>", client) }
    private func items(_ node: String, _ client: TestClient) -> String {
        ask("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='\(node)'/></pubsub>", client)
    }

    private func publish(_ node: String, _ payload: String, access: String = "open", id: String = "current", to: String = "", _ client: TestClient) -> TestStanza? {
        client.forget()
        client.send("""
            <iq type='set' id='p'\(to)><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='\(node)'><item id='\(id)'>\(payload)</item></publish>\
            <publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
            <value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='pubsub#access_model'><value>\(access)</value></field></x>\
            </publish-options></pubsub></iq>
            """)
        finish()
        return client.receivedBesidesPresence().first { $0.id == "p" }
    }

    private func publishData(_ bytes: [UInt8], access: String = "open", to: String = "", _ client: TestClient) -> TestStanza? {
        let data = "<data xmlns='urn:xmpp:avatar:data'>\(Base64.encode(bytes))</data>"
        return publish("urn:xmpp:avatar:data", data, access: access, id: Self.digest(bytes), to: to, client)
    }

    private func publishMetadata(_ bytes: [UInt8]?, url: String = "", access: String = "open", _ client: TestClient) -> TestStanza? {
        let info = bytes.map { "<info bytes='\($0.count)' id='\(Self.digest($0))' type='image/jpeg'\(url)/>" } ?? ""
        let metadata = "<metadata xmlns='urn:xmpp:avatar:metadata'>\(info)</metadata>"
        return publish("urn:xmpp:avatar:metadata", metadata, access: access, id: bytes.map(Self.digest) ?? "none", client)
    }

    private func publishCard(_ content: String, access: String = "open", _ client: TestClient) -> TestStanza? {
        publish("urn:xmpp:vcard4", "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'>\(content)</vcard>", access: access, client)
    }

    private func delete(_ nodes: String..., by client: TestClient) {
        for node in nodes {
            client.send("<iq type='set' id='d'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><delete node='\(node)'/></pubsub></iq>")
            #expect(isResult(client.receivedBesidesPresence().first { $0.id == "d" }))
        }
    }

    private var changes: [ProfileChange] { people.changes(of: server.address("juliet")) }
    private func isResult(_ answer: TestStanza?) -> Bool { answer?.element.attribute("type") == "result" }

    // MARK: Where it is shown

    @Test("what a directory says is in the card, beside what the account says, in the card as a node, and in the search")
    func shown() {
        let balcony = server.online("juliet/balcony")
        #expect(isResult(set("<NICKNAME>Jule</NICKNAME><MAILER>pigeon</MAILER>", balcony)))
        introduce()
        let romeo = server.online("romeo/orchard")
        #expect(card(romeo).contains(Self.name + Self.phone + Self.title + "<NICKNAME>Jule</NICKNAME><MAILER>pigeon</MAILER></vCard>"))
        let node = items("urn:xmpp:vcard4", romeo)
        #expect(node.contains("<fn><text>Juliet Capulet</text></fn>") && node.contains("<nickname><text>Jule</text></nickname>"))
        romeo.forget()
        romeo.send("<iq type='set' id='f' to='vjud.capulet.example'><query xmlns='jabber:iq:search'><last>Capulet</last></query></iq>")
        #expect(romeo.receivedBesidesPresence().first?.description.contains("juliet@capulet.example") == true)
    }

    @Test("its picture is the avatar: at both nodes and in presence")
    func avatar() {
        introduce(Self.name + Self.photo(Self.picture))
        let balcony = server.client("juliet/balcony")
        balcony.send("<presence/>")
        #expect(balcony.received().contains { $0.description.contains("<photo>\(Self.digest(Self.picture))</photo>") })
        let romeo = server.online("romeo/orchard")
        #expect(items("urn:xmpp:avatar:data", romeo).contains(Base64.encode(Self.picture)))
        #expect(items("urn:xmpp:avatar:metadata", romeo).contains("id='\(Self.digest(Self.picture))'"))
    }

    @Test("contacts hear of a new picture at once, also if nobody of the account is online (XEP-0084 §4.2)")
    func told() throws {
        server.befriend("juliet", "romeo")
        let orchard = server.online("romeo/orchard")
        let content = "<identity category='client' type='pc' name='Lute'/><feature var='urn:xmpp:avatar:metadata+notify'/>"
        let query = try parseElement(ByteBuffer(string: "<query xmlns='http://jabber.org/protocol/disco#info'>\(content)</query>"), limits: .authenticated)
        let digest = EntityCapabilities.verificationString(of: try #require(DiscoInfo(query.root)))
        orchard.send("<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://lute.example' ver='\(digest)'/></presence>")
        let id = try #require(orchard.received().first { $0.element.attribute("type") == "get" }?.id)
        orchard.send("""
            <iq type='result' id='\(id)' to='romeo@capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'>\(content)</query></iq>
            """)
        orchard.forget()
        say(Self.profile(Self.photo(Self.picture)))
        func events() -> [String] {
            orchard.receivedBesidesPresence().map(\.description).filter { $0.contains("urn:xmpp:avatar:metadata") && $0.contains("from='juliet@capulet.example'") }
        }
        let first = events()
        #expect(!first.isEmpty && first.allSatisfy { $0.contains(Self.digest(Self.picture)) })
        say(Self.profile(Self.photo(Self.other)))
        let second = events()
        #expect(second.contains { $0.contains(Self.digest(Self.other)) })
        // What is in the card already is not told again.
        say(Self.profile(Self.photo(Self.other)))
        #expect(events() == [])
    }

    @Test("of what the directory says only elements of cards count, only pictures that directories have, and only so much text")
    func hostileDirectory() {
        let long = "<DESC>\(String(repeating: "a", count: Profile.textBytesMax))</DESC>"
        let tooLarge = [0xFF, 0xD8, 0xFF] + [UInt8](repeating: 0, count: Profile.pictureBytesMax - 2)
        introduce("""
            \(Self.name)<FN xmlns='urn:else'>Else</FN>\(Self.photo(Array("GIF89a".utf8)))\(Self.photo(tooLarge))<PHOTO><BINVAL>?</BINVAL></PHOTO><TITLE/>\(long)<URL>u</URL>
            """)
        let balcony = server.online("juliet/balcony")
        #expect(card(balcony).contains("<vCard xmlns='vcard-temp'>\(Self.name)</vCard>"))
        say(Profile(card: ByteBuffer(string: "no card"), owned: ["FN"]))
        #expect(card(balcony).contains("item-not-found"))
        say(Self.profile("<DESC>\(String(repeating: "a", count: Profile.textBytesMax - "<DESC></DESC>".utf8.count))</DESC>"))
        #expect(card(balcony).contains("aaa</DESC></vCard>"))
        say(Self.profile(Self.photo(Array(tooLarge.dropLast()))))
        #expect(card(balcony).contains("PHOTO"))
    }

    // MARK: What is the directory's

    @Test("what is the directory's nobody may say otherwise, and it is told what that is", arguments: [
        ("<FN>Juliet Montague</FN>", "FN"), ("\(name)<FN>Lady Capulet</FN>", "FN"), ("<FN>Juliet Capulet<x>Esq.</x></FN>", "FN"),
        ("<N><FAMILY>Capulet</FAMILY><GIVEN>Juliet</GIVEN><PREFIX>Lady</PREFIX></N>", "N"), ("<ORG><ORGNAME>Montague</ORGNAME></ORG>", "ORG"),
        ("<EMAIL><USERID>juliet@montague.example</USERID></EMAIL>", "EMAIL"), (photo(other), "PHOTO"),
        ("<PHOTO><EXTVAL>http://montague.example/juliet.jpg</EXTVAL></PHOTO>", "PHOTO"), ("<PHOTO><BINVAL>?</BINVAL></PHOTO>", "PHOTO"),
    ])
    func owned(content: String, field: String) {
        introduce(Self.name + Self.photo(Self.picture))
        let balcony = server.online("juliet/balcony")
        let before = card(balcony)
        let answer = set("<NICKNAME>Jule</NICKNAME>" + content, balcony)
        #expect(answer?.error == "cancel/not-allowed")
        #expect(answer?.description.contains(">\(field) is what the directory says<") == true)
        #expect(card(balcony) == before && changes == [])
    }

    @Test("whoever sends back what he has read, or less, or nothing of it, or writes it otherwise, sets the rest", arguments: [
        "", name, "<FN>Juliet  Capulet\n</FN>", "<FN/>", "<FN>Juliet Capulet</FN><FN>Juliet Capulet</FN>", "<N><GIVEN>Juliet</GIVEN><MIDDLE/></N>",
        "<PHOTO/>", photo(picture), "<PHOTO><BINVAL>\(Base64.encode(picture).prefix(4))\n\(Base64.encode(picture).dropFirst(4))</BINVAL></PHOTO>",
        "<TEL><WORK/><NUMBER>+39-045-8034303</NUMBER></TEL>", "<TEL><NUMBER>+39 (045) 8034303</NUMBER></TEL>", title,
        "<FN xmlns='urn:else'>Lady</FN>",
    ])
    func sentBack(content: String) {
        introduce(Self.name + Self.phone + Self.title + Self.photo(Self.picture))
        let balcony = server.online("juliet/balcony")
        #expect(isResult(set(content + "<NICKNAME>Jule</NICKNAME>", balcony)))
        let shown = card(balcony)
        #expect(shown.contains(Self.name + Self.phone + Self.title + Self.photo(Self.picture)) && shown.contains("<NICKNAME>Jule</NICKNAME></vCard>"))
        #expect(changes == [])
    }

    @Test("what somebody has said before the directory did comes back when it says nothing of that any more")
    func comesBack() {
        let balcony = server.online("juliet/balcony")
        #expect(isResult(set("<FN>Jule</FN><TEL><HOME/><NUMBER>1</NUMBER></TEL><TITLE>Daughter</TITLE><NICKNAME>J</NICKNAME>", balcony)))
        introduce()
        #expect(card(balcony).contains("\(Self.name)\(Self.phone)<TITLE>Daughter</TITLE><NICKNAME>J</NICKNAME></vCard>"))
        // Also what he says in between.
        #expect(isResult(set("<FN>Juliet Capulet</FN><NICKNAME>K</NICKNAME>", balcony)))
        #expect(card(balcony).contains("\(Self.name)\(Self.phone)\(Self.title)<NICKNAME>K</NICKNAME></vCard>"))
        say(nil)
        let shown = card(balcony)
        #expect(shown.contains("<NICKNAME>K</NICKNAME>") && shown.contains("<FN>Jule</FN>") && shown.contains("<NUMBER>1</NUMBER>"))
        #expect(!shown.contains("Capulet<") && !shown.contains("Heiress"))
        #expect(server.store.contents.document(server.store.contents[server.address("juliet")]?.id ?? .nobody, .profile) == nil)
        // Nor does anybody keep him from changing it.
        #expect(isResult(set("<FN>Lady</FN>", balcony)))
        #expect(card(balcony).contains("<FN>Lady</FN>"))
    }

    @Test("whose card is all the directory's has none when it knows him no more")
    func gone() {
        introduce()
        say(nil)
        #expect(card(server.online("juliet/balcony")).contains("item-not-found"))
        say(nil)
    }

    @Test("what counts unless he says something himself gives way to that, and comes back")
    func preset() {
        introduce()
        let balcony = server.online("juliet/balcony")
        #expect(isResult(set("<TITLE>Lady</TITLE>", balcony)))
        #expect(card(balcony).contains("<TITLE>Lady</TITLE>") && !card(balcony).contains("Heiress"))
        say(Self.profile("<TITLE>Countess</TITLE>"))
        #expect(card(balcony).contains("<TITLE>Lady</TITLE>") && !card(balcony).contains("Countess"))
        #expect(isResult(set("<TITLE/>", balcony)))
        #expect(card(balcony).contains("<TITLE>Countess</TITLE>"))
        say(Self.profile("<TITLE>Duchess</TITLE><NOTE>of no rule</NOTE>"))
        #expect(card(balcony).contains("<TITLE>Duchess</TITLE><NOTE>of no rule</NOTE></vCard>"))
    }

    @Test("an account that the directory does not know has its card as before")
    func unknown() {
        introduce()
        let romeo = server.online("romeo/orchard")
        #expect(isResult(set("<FN>Anybody</FN>", romeo)))
        romeo.send("<iq type='get' id='g'><vCard xmlns='vcard-temp'/></iq>")
        #expect(romeo.receivedBesidesPresence().first?.description.contains("<FN>Anybody</FN>") == true)
    }

    @Test("the limit for cards is for what is somebody's own, whatever the directory says besides")
    func limit() {
        var limits = HostLimits()
        limits.vCardBytesMax = 200
        let server = TestServer(limits: limits, profiles: people)
        introduce(Self.name + Self.photo(Self.picture + [UInt8](repeating: 0, count: 1_000)), on: server)
        let balcony = server.online("juliet/balcony")
        let frame = "<vCard xmlns='vcard-temp'><NOTE></NOTE></vCard>".utf8.count
        #expect(isResult(set(Self.name + "<NOTE>\(String(repeating: "a", count: 200 - frame))</NOTE>", balcony)))
        finish(server)
        #expect(set("<NOTE>\(String(repeating: "a", count: 201 - frame))</NOTE>", balcony)?.error == "modify/policy-violation")
    }

    // MARK: What he changes in the directory

    private static let newPhone = "<TEL><WORK/><NUMBER>2</NUMBER></TEL>"
    private static func elements(_ texts: String...) -> [ByteBuffer] {
        texts.map { ByteBuffer(string: $0.replacing("<TEL>", with: "<TEL xmlns='vcard-temp'>")) }
    }

    @Test("what may be changed is changed in the directory first, and is in the card then")
    func writable() {
        introduce()
        let balcony = server.online("juliet/balcony")
        #expect(isResult(set(Self.newPhone, balcony)))
        #expect(changes == [ProfileChange("TEL", Self.elements(Self.newPhone))])
        #expect(card(balcony).contains(Self.newPhone) && !card(balcony).contains("8034303"))
        // The directory says it itself then.
        let settled = server.store.settled
        say(people[server.address("juliet")])
        #expect(server.store.settled == settled)
        // One that is marked otherwise is another one, one that is empty takes back what was said.
        #expect(isResult(set("<TEL><CELL/><NUMBER>2</NUMBER></TEL>", balcony)))
        #expect(isResult(set("<TEL/>", balcony)))
        #expect(changes.dropFirst() == [ProfileChange("TEL", Self.elements("<TEL><CELL/><NUMBER>2</NUMBER></TEL>")), ProfileChange("TEL", [])])
        #expect(!card(balcony).contains("TEL"))
    }

    @Test("what the directory refuses is not in the card, and whoever wanted it hears why")
    func refused() {
        introduce()
        people.refusal = StanzaError(.resourceConstraint, .wait, text: "the directory is being moved")
        let balcony = server.online("juliet/balcony")
        let before = card(balcony)
        let answer = set(Self.newPhone + "<NICKNAME>J</NICKNAME>", balcony)
        #expect(answer?.error == "wait/resource-constraint" && answer?.description.contains("being moved") == true)
        #expect(card(balcony) == before)
        #expect(publishCard("<tel><uri>tel:2</uri></tel>", balcony)?.error == "wait/resource-constraint")
        #expect(!items("urn:xmpp:vcard4", balcony).contains("tel:2<"))
    }

    @Test("so many elements go to the directory, and pictures that it takes")
    func changeLimits() {
        introduce { $0.writable.insert("PHOTO") }
        let balcony = server.online("juliet/balcony")
        func phones(_ count: Int) -> String { (0..<count).map { "<TEL><NUMBER>\($0)</NUMBER></TEL>" }.joined() }
        #expect(isResult(set(phones(ProfileChange.elementsMax), balcony)))
        #expect(set(phones(ProfileChange.elementsMax + 1), balcony)?.error == "modify/policy-violation")
        let largest = [0xFF, 0xD8, 0xFF] + [UInt8](repeating: 0, count: Profile.pictureBytesMax - 3)
        #expect(isResult(set(Self.photo(largest), balcony)))
        #expect(set(Self.photo(largest + [0]), balcony)?.error == "modify/not-acceptable")
        #expect(set(Self.photo(Array("GIF89a".utf8)), balcony)?.error == "modify/not-acceptable")
        #expect(changes.map(\.name) == ["TEL", "PHOTO"])
        let frame = "<TEL xmlns='vcard-temp'><NUMBER></NUMBER></TEL>".utf8.count
        func longPhone(_ bytes: Int) -> String { "<TEL><NUMBER>\(String(repeating: "1", count: bytes - frame))</NUMBER></TEL>" }
        #expect(set(longPhone(Profile.textBytesMax + 1), balcony)?.error == "modify/policy-violation")
        #expect(isResult(set(longPhone(Profile.textBytesMax), balcony)))
    }

    // MARK: Nodes

    @Test("at the avatar's nodes only the directory's picture may be published, and nobody takes it away, if it is the directory's")
    func avatarNodes() {
        introduce(Self.photo(Self.picture))
        let balcony = server.online("juliet/balcony")
        #expect(publishData(Self.other, balcony)?.error == "auth/forbidden")
        #expect(publishMetadata(Self.other, balcony)?.error == "auth/forbidden")
        #expect(publishMetadata(nil, balcony)?.error == "auth/forbidden")
        #expect(publishMetadata(Self.picture, url: " url='http://montague.example/j.jpg'", balcony)?.error == "auth/forbidden")
        #expect(isResult(publishData(Self.picture, balcony)) && isResult(publishMetadata(Self.picture, balcony)))
        for request in [
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><retract node='urn:xmpp:avatar:data'><item id='\(Self.digest(Self.picture))'/></retract></pubsub>",
            "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><purge node='urn:xmpp:avatar:metadata'/></pubsub>",
            "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><delete node='urn:xmpp:avatar:metadata'/></pubsub>",
            "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><delete node='urn:xmpp:vcard4'/></pubsub>",
        ] {
            balcony.forget()
            balcony.send("<iq type='set' id='r'>\(request)</iq>")
            #expect(balcony.receivedBesidesPresence().first { $0.id == "r" }?.error == "auth/forbidden")
        }
        let romeo = server.online("romeo/orchard")
        #expect(items("urn:xmpp:avatar:metadata", romeo).contains(Self.digest(Self.picture)))
    }

    @Test("where the directory has no picture there is none, and saying so is no news")
    func noPicture() {
        introduce()
        let balcony = server.online("juliet/balcony")
        #expect(publishData(Self.other, balcony)?.error == "auth/forbidden")
        #expect(isResult(publishMetadata(nil, balcony)))
    }

    @Test("strangers learn nothing of the account from how their publications are refused (rule 23)", arguments: ["juliet", "nobody"])
    func strangers(name: String) {
        introduce(Self.photo(Self.picture))
        let romeo = server.online("romeo/orchard")
        #expect(publishData(Self.other, to: " to='\(name)@capulet.example'", romeo)?.error == "cancel/service-unavailable")
    }

    @Test("a picture that may be changed is, when it is published for everybody; one for few is not the directory's affair")
    func writablePicture() {
        introduce(Self.photo(Self.picture)) { $0.writable.insert("PHOTO") }
        let balcony = server.online("juliet/balcony")
        delete("urn:xmpp:avatar:data", "urn:xmpp:avatar:metadata", by: balcony)
        #expect(isResult(publishData(Self.other, access: "presence", balcony)) && isResult(publishMetadata(Self.other, access: "presence", balcony)))
        #expect(changes == [] && card(balcony).contains(Base64.encode(Self.picture)))
        delete("urn:xmpp:avatar:data", "urn:xmpp:avatar:metadata", by: balcony)
        #expect(isResult(publishData(Self.other, balcony)) && isResult(publishMetadata(Self.other, balcony)))
        #expect(changes.map(\.name) == ["PHOTO"] && changes.first?.elements.count == 1)
        #expect(card(balcony).contains(Base64.encode(Self.other)) && !card(balcony).contains(Base64.encode(Self.picture)))
        #expect(isResult(publishMetadata(nil, balcony)))
        #expect(changes.last == ProfileChange("PHOTO", []) && !card(balcony).contains("PHOTO"))
    }

    @Test("an avatar that is published for few is shown to nobody else because the directory has a picture", arguments: [true, false])
    func forFew(isOwned: Bool) {
        let balcony = server.online("juliet/balcony")
        #expect(isResult(publishData(Self.other, access: "presence", balcony)) && isResult(publishMetadata(Self.other, access: "presence", balcony)))
        introduce(Self.photo(Self.picture)) { if !isOwned { $0.owned.remove("PHOTO") } }
        let romeo = server.online("romeo/orchard")
        #expect(card(romeo).contains(Base64.encode(Self.picture)))
        let data = items("urn:xmpp:avatar:data", romeo)
        #expect(!data.contains(Base64.encode(Self.other)) && data.contains(Base64.encode(Self.picture)) == isOwned)
        #expect(items("urn:xmpp:avatar:metadata", balcony).contains(Self.digest(isOwned ? Self.picture : Self.other)))
    }

    @Test("who has taken out his own picture has the directory's again, where that counts unless he has one")
    func presetPicture() {
        introduce(Self.photo(Self.picture)) { $0.owned.remove("PHOTO") }
        let balcony = server.online("juliet/balcony")
        #expect(isResult(publishData(Self.other, balcony)) && isResult(publishMetadata(Self.other, balcony)))
        #expect(card(balcony).contains(Base64.encode(Self.other)))
        #expect(isResult(publishMetadata(nil, balcony)))
        #expect(card(balcony).contains(Base64.encode(Self.picture)))
        #expect(items("urn:xmpp:avatar:metadata", balcony).contains(Self.digest(Self.picture)))
        #expect(changes == [])
    }

    @Test("a card that is published as a node may say no more than the one that is set, and has what the directory says")
    func node() {
        introduce(Self.name + Self.phone + Self.title + Self.photo(Self.picture))
        let balcony = server.online("juliet/balcony")
        #expect(publishCard("<fn><text>Lady</text></fn>", balcony)?.error == "cancel/not-allowed")
        #expect(publishCard("<photo><uri>http://montague.example/j.jpg</uri></photo>", balcony)?.error == "cancel/not-allowed")
        #expect(isResult(publishCard("<nickname><text>Jule</text></nickname><gender><sex>F</sex></gender>", balcony)))
        let node = items("urn:xmpp:vcard4", balcony)
        for said in ["<fn><text>Juliet Capulet</text></fn>", "<text>Jule</text>", "<sex>F</sex>", "tel:+39-045-8034303", "<text>Heiress</text>"] {
            #expect(node.contains(said))
        }
        #expect(card(balcony).contains(Self.name + Self.phone + Self.title + Self.photo(Self.picture) + "<NICKNAME>Jule</NICKNAME>"))
        // What he reads there he may publish again.
        guard let start = node.firstRange(of: "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'>"), let end = node.firstRange(of: "</vcard>") else {
            Issue.record("there is no card: \(node)")
            return
        }
        #expect(isResult(publishCard(String(node[start.upperBound..<end.lowerBound]), balcony)))
        #expect(changes == [])
    }

    @Test("what it may change there it changes in the directory, if the card is for everybody")
    func writableNode() {
        introduce()
        let balcony = server.online("juliet/balcony")
        #expect(isResult(publishCard("<tel><parameters><type><text>cell</text></type></parameters><uri>tel:2</uri></tel>", balcony)))
        #expect(changes.map(\.name) == ["TEL"])
        #expect(card(balcony).contains("<TEL><CELL/><NUMBER>2</NUMBER></TEL>") && items("urn:xmpp:vcard4", balcony).contains("tel:2<"))
        say(people[server.address("juliet")].map { Profile(card: $0.card, writable: ["TEL"]) })
        delete("urn:xmpp:vcard4", by: balcony)
        #expect(isResult(publishCard("<tel><uri>tel:3</uri></tel>", access: "presence", balcony)))
        #expect(changes.count == 1 && !card(balcony).contains("<NUMBER>3<"))
    }

    @Test("a component in the account's name may say no more than the account (XEP-0356 §6)")
    func component() throws {
        var privileges = ComponentPrivileges()
        privileges.requests = ["vcard-temp": .set]
        let domain = try BareJID(parsing: "capulet.example")
        let powers = ComponentPowers(domains: [domain], privileges: privileges)
        let server = TestServer(
            components: [ComponentSettings(try BareJID(parsing: "steward.capulet.example"), domain: domain, secret: [1], powers: powers)], profiles: people)
        introduce(on: server)
        let steward = TestComponent(server, "steward.capulet.example")
        _ = steward.received()
        for (content, type) in [("<FN>Lady</FN>", "error"), ("<NICKNAME>Jule</NICKNAME>", "result")] {
            steward.send("""
                <iq from='steward.capulet.example' to='juliet@capulet.example' id='p' type='set'><privileged_iq xmlns='urn:xmpp:privilege:2'>\
                <iq xmlns='jabber:client' type='set' id='1'><vCard xmlns='vcard-temp'>\(content)</vCard></iq></privileged_iq></iq>
                """)
            finish(server)
            let answer = steward.received().compactMap { $0.child("privilege")?.firstChild?.firstChild }.first
            #expect(answer?.attribute("type") == type)
        }
        #expect(card(server.online("juliet/balcony")).contains(Self.name + Self.phone + Self.title + "<NICKNAME>Jule</NICKNAME>"))
    }

    // MARK: Many at once

    @Test("many are written in few commits, each with what follows from it, and what is there already is not written", arguments: [1_000, 1_001])
    func many(count: Int) {
        for index in 0..<count { server.createAccount("p\(index)") }
        let profiles: [(account: BareJID, profile: Profile?)] = (0..<count).map { index in
            (server.address("p\(index)"), Self.profile("<FN>Person \(index)</FN>" + Self.photo(Self.picture)))
        }
        for (account, profile) in profiles { people[account] = profile }
        let before = server.store.settled.sequence
        server.put(profiles)
        #expect(server.store.settled.sequence - before == UInt64((count + 499) / 500))
        server.put(profiles)
        #expect(server.store.settled.sequence - before == UInt64((count + 499) / 500))
        // One who comes into use has his picture where it belongs.
        let client = server.online("p999/phone")
        finish()
        client.send("<iq type='get' id='i'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:avatar:metadata'/></pubsub></iq>")
        #expect(client.receivedBesidesPresence().last?.description.contains(Self.digest(Self.picture)) == true)
        let id = server.store.contents[server.address("p999")]?.id ?? .nobody
        #expect(server.store.contents.document(id, .conversions) == nil)
    }

    @Test("a commit has so many bytes", arguments: [(40_000, UInt64(1)), (100_000, 2)])
    func batchBytes(pictureBytes: Int, commits: UInt64) {
        let picture = Self.picture + [UInt8](repeating: 0, count: pictureBytes)
        let profiles: [(account: BareJID, profile: Profile?)] = (0..<60).map { (server.address("p\($0)"), Self.profile(Self.photo(picture))) }
        for index in 0..<60 { server.createAccount("p\(index)") }
        for (account, profile) in profiles { people[account] = profile }
        let before = server.store.settled.sequence
        server.put(profiles)
        #expect(server.store.settled.sequence - before == commits)
    }

    @Test("among many, those who are in use are put as single ones are, and accounts that there are not are passed over")
    func manyInUse() {
        let balcony = server.online("juliet/balcony")
        for index in 0..<60 { server.createAccount("p\(index)") }
        let all = (["juliet", "nobody"] + (0..<60).map { "p\($0)" }).map { server.address($0) }
        let profile = Self.profile(Self.name + Self.photo(Self.picture))
        for account in all { people[account] = profile }
        server.put(all.map { ($0, profile) })
        finish()
        #expect(items("urn:xmpp:avatar:metadata", balcony).contains(Self.digest(Self.picture)))
        #expect(card(balcony).contains(Self.name))
        #expect(server.store.contents[server.address("nobody")] == nil)
        // They may go as well.
        server.put(all.map { ($0, nil) })
        #expect(card(balcony).contains("item-not-found"))
        let id = server.store.contents[server.address("p59")]?.id ?? .nobody
        #expect(server.store.contents.document(id, .vCard) == nil && server.store.contents.document(id, .profile) == nil)
    }

    @Test("what the disk does not take can be put again", arguments: [1, 60])
    func refusedByDisk(count: Int) {
        for index in 0..<count { server.createAccount("p\(index)") }
        let profiles: [(account: BareJID, profile: Profile?)] = (0..<count).map { (server.address("p\($0)"), Self.profile(Self.name)) }
        server.store.failSubmits(with: .full, next: 1)
        guard case .failure(.full)? = server.put(profiles) else {
            Issue.record("a full disk was not noticed")
            return
        }
        server.put(profiles)
        finish()
        let id = server.store.contents[server.address("p0")]?.id ?? .nobody
        #expect(server.store.contents.document(id, .vCard).map { String(buffer: $0) }?.contains(Self.name) == true)
    }

    @Test("a card that is set while the directory says something keeps both, whenever that is", arguments: 0..<16)
    func meanwhile(moment: Int) {
        let server = TestServer(commits: .manual, profiles: people)
        server.createAccount("juliet")
        let account = server.address("juliet")
        let balcony = server.online("juliet/balcony")
        SlowDisk.settle(server)
        let profile = Self.profile(Self.name)
        people[account] = profile
        server.put([(account, profile)])
        for _ in 0..<moment {
            server.store.submit([])
            server.store.commit(1)
            server.run()
        }
        balcony.send("<iq type='set' id='s'><vCard xmlns='vcard-temp'><NICKNAME>Jule</NICKNAME></vCard></iq>")
        server.store.commit(1)
        SlowDisk.settle(server)
        balcony.forget()
        balcony.send("<iq type='get' id='g'><vCard xmlns='vcard-temp'/></iq>")
        SlowDisk.settle(server)
        #expect(balcony.receivedBesidesPresence().first { $0.id == "g" }?.description.contains("\(Self.name)<NICKNAME>Jule</NICKNAME></vCard>") == true)
        #expect(server.unfinishedStanzas == 0)
    }

    @Test("what the directory has said is at the nodes after a crash as well")
    func crash() {
        let server = TestServer(commits: .manual, profiles: people)
        server.createAccount("juliet")
        let account = server.address("juliet")
        SlowDisk.settle(server)
        let profile = Self.profile(Self.photo(Self.picture))
        people[account] = profile
        server.put([(account, profile)])
        let id = server.store.contents[account]?.id ?? .nobody
        for _ in 0..<100 where server.store.contents.document(id, .vCard) == nil {
            server.store.submit([])
            server.store.commit(1)
            server.run()
        }
        #expect(server.store.contents.document(id, .conversions) != nil)
        let next = TestServer(after: server)
        // Both have the same features: what the dead one had under way comes to its end, on a disk that nobody reads any more.
        SlowDisk.settle(server)
        let chamber = next.online("juliet/chamber")
        SlowDisk.settle(next)
        chamber.forget()
        chamber.send("<presence/>")
        #expect(chamber.received().contains { $0.description.contains("<photo>\(Self.digest(Self.picture))</photo>") })
    }
}
