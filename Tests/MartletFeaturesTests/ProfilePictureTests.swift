import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Pictures that a directory names, and that are read when they are wanted (XEP-0054, XEP-0398)")
struct ProfilePictureTests {
    private let people = InMemoryProfiles()
    private let server: TestServer

    init() {
        server = TestServer(profiles: people)
        for picture in [Self.picture, Self.other] { people.pictures[Self.digest(picture)] = picture }
    }

    private static let picture: [UInt8] = [0xFF, 0xD8, 0xFF, 0xE0] + Array("Juliet".utf8)
    private static let other: [UInt8] = [0xFF, 0xD8, 0xFF, 0xE0] + Array("Rosaline".utf8)
    private static func photo(_ bytes: [UInt8]) -> String { "<PHOTO><TYPE>image/jpeg</TYPE><BINVAL>\(Base64.encode(bytes))</BINVAL></PHOTO>" }
    private static func digest(_ bytes: [UInt8]) -> String {
        ScramHash.sha1.digest(bytes).map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }

    private func say(_ picture: [UInt8], _ change: (inout Profile) -> Void = { _ in }) {
        var profile = Profile(
            card: ByteBuffer(string: "<vCard xmlns='vcard-temp'><FN>Juliet Capulet</FN></vCard>"), owned: ["FN", "PHOTO"], picture: Self.digest(picture))
        change(&profile)
        if server.store.contents[server.address("juliet")] == nil { server.createAccount("juliet") }
        people[server.address("juliet")] = profile
        _ = server.put([(server.address("juliet"), profile)])
        finish()
    }

    private func finish() { for _ in 0..<50 { server.run() } }

    private func set(_ content: String, _ client: TestClient) -> TestStanza? {
        client.forget()
        client.send("<iq type='set' id='s'><vCard xmlns='vcard-temp'>\(content)</vCard></iq>")
        finish()
        return client.receivedBesidesPresence().first { $0.id == "s" }
    }

    private func card(_ client: TestClient) -> String {
        client.forget()
        client.send("<iq type='get' id='v' to='juliet@capulet.example'><vCard xmlns='vcard-temp'/></iq>")
        return client.receivedBesidesPresence().first { $0.id == "v" }?.description ?? ""
    }

    @Test("it is in the card and at the avatar's nodes, and asked for once, until it is another one")
    func shown() {
        say(Self.picture)
        let romeo = server.online("romeo/orchard")
        #expect(card(romeo).contains("<FN>Juliet Capulet</FN>" + Self.photo(Self.picture)))
        romeo.forget()
        romeo.send("<iq type='get' id='m' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:avatar:metadata'/></pubsub></iq>")
        #expect(romeo.receivedBesidesPresence().last?.description.contains("id='\(Self.digest(Self.picture))'") == true)
        say(Self.picture) { $0.card = ByteBuffer(string: "<vCard xmlns='vcard-temp'><FN>Juliet Montague</FN></vCard>") }
        #expect(card(romeo).contains("<FN>Juliet Montague</FN>" + Self.photo(Self.picture)))
        #expect(people.picturesAsked == [Self.digest(Self.picture)])
        say(Self.other)
        #expect(card(romeo).contains(Self.photo(Self.other)))
        #expect(people.picturesAsked == [Self.digest(Self.picture), Self.digest(Self.other)])
    }

    @Test("one that cannot be had now leaves the rest, and comes when it can be had")
    func missing() {
        people.pictures = [:]
        say(Self.picture)
        let romeo = server.online("romeo/orchard")
        #expect(card(romeo).contains("<FN>Juliet Capulet</FN></vCard>"))
        let before = server.store.settled.sequence
        say(Self.picture)
        // What is not there is not written again.
        #expect(server.store.settled.sequence == before)
        people.pictures[Self.digest(Self.picture)] = Self.picture
        say(Self.picture)
        #expect(card(romeo).contains(Self.photo(Self.picture)))
    }

    @Test("what comes instead of a JPEG is no picture")
    func noPicture() {
        people.pictures[Self.digest(Self.picture)] = Array("GIF89a".utf8)
        say(Self.picture)
        #expect(card(server.online("romeo/orchard")).contains("<FN>Juliet Capulet</FN></vCard>"))
    }

    @Test("whose it is may send it back, and no other one, and keeps it with whatever else he sets")
    func own() {
        say(Self.picture)
        let balcony = server.online("juliet/balcony")
        #expect(set("<NICKNAME>Jule</NICKNAME>" + Self.photo(Self.picture), balcony)?.element.attribute("type") == "result")
        #expect(card(balcony).contains(Self.photo(Self.picture) + "<NICKNAME>Jule</NICKNAME></vCard>"))
        #expect(set("<NICKNAME>Jul</NICKNAME>", balcony)?.element.attribute("type") == "result")
        #expect(card(balcony).contains(Self.photo(Self.picture) + "<NICKNAME>Jul</NICKNAME></vCard>"))
        #expect(set(Self.photo(Self.other), balcony)?.description.contains("<not-allowed") == true)
        #expect(people.picturesAsked.count == 1)
    }

    @Test("one of his own takes its place where it counts unless he has one, and gives it back")
    func preset() {
        say(Self.picture) { ($0.owned, $0.preset) = (["FN"], ["PHOTO"]) }
        let balcony = server.online("juliet/balcony")
        #expect(set(Self.photo(Self.other), balcony)?.element.attribute("type") == "result")
        #expect(card(balcony).contains(Self.photo(Self.other)) && !card(balcony).contains(Self.photo(Self.picture)))
        // Whoever has a picture of his own needs none.
        say(Self.picture) { ($0.owned, $0.preset) = (["FN"], ["PHOTO"]) }
        #expect(people.picturesAsked.count == 1)
        _ = set("<NICKNAME>Jule</NICKNAME>", balcony)
        #expect(card(balcony).contains(Self.photo(Self.picture)) && people.picturesAsked.last == Self.digest(Self.picture))
    }

    @Test("among many, each is asked for once")
    func many() {
        for index in 0..<60 { server.createAccount("p\(index)") }
        let profile = Profile(card: ByteBuffer(string: "<vCard xmlns='vcard-temp'/>"), owned: ["PHOTO"], picture: Self.digest(Self.picture))
        let all: [(account: BareJID, profile: Profile?)] = (0..<60).map { (server.address("p\($0)"), profile) }
        for (account, profile) in all { people[account] = profile }
        for _ in 0..<2 { _ = server.put(all) }
        #expect(people.picturesAsked.count == 60)
    }
}
