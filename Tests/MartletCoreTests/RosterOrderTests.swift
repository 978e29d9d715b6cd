import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

/// A client takes a version for all that came before it: one told out of order would hide a change from it for ever (RFC 6121 §2.6).
@Suite("Versions of a roster are told in order, whichever loops its changes are made on (P7)")
struct RosterOrderTests {
    /// Reads what a client was told: the version after each push and each answer to a get.
    private struct Listener {
        let client: TestClient
        var version: UInt64 = 0
        var contacts: Set<String> = []

        mutating func read() {
            for stanza in client.receivedBesidesPresence() {
                guard let query = stanza.child("query") else { continue }
                // An answer without a version says that nothing has changed.
                guard let name = query.attribute("ver"), let told = UInt64(name.split(separator: "-").last ?? "") else { continue }
                #expect(told >= version, "\(told) was told after \(version)")
                version = told
                let isPush = stanza.element.attribute("type") == "set"
                if !isPush { contacts = [] }
                for item in query.children {
                    let contact = item.attribute("jid") ?? ""
                    if item.attribute("subscription") == "remove" { contacts.remove(contact) } else { contacts.insert(contact) }
                }
            }
        }
    }

    @Test("whatever is set, removed, asked for and approved, and however late the disk and a loop are", arguments: 1...20)
    func randomWalk(seed: UInt64) {
        let server = TestServer(commits: .manual, seed: seed)
        let random = SeededRandom(seed: seed)
        func roll(_ sides: Int) -> Int { Int(random.bytes(1)[0]) % sides }
        let second = server.addLoop()
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        let balcony = server.client("juliet/balcony")
        let chamber = server.client("juliet/chamber", on: second)
        let romeo = server.client("romeo/orchard", on: second)
        let get = "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>"
        var listeners = [Listener(client: balcony), Listener(client: chamber)]
        for listener in listeners { listener.client.sendOnly(get) }

        func settle() {
            server.store.commit()
            balcony.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
            server.store.commit()
            server.run()
            for index in listeners.indices { listeners[index].read() }
        }
        for _ in 0..<200 {
            let client = roll(2) == 0 ? balcony : chamber
            let contact = "c\(roll(5))@capulet.example"
            switch roll(8) {
            case 0, 1: client.sendOnly("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='\(contact)' name='\(roll(256))'/></query></iq>")
            case 2:
                client.sendOnly("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='\(contact)' subscription='remove'/></query></iq>")
            case 3: client.sendOnly(get)
            case 4: client.sendOnly("<presence to='romeo@capulet.example' type='\(roll(2) == 0 ? "subscribe" : "unsubscribe")'/>")
            case 5: romeo.sendOnly("<presence to='juliet@capulet.example' type='\(roll(2) == 0 ? "subscribed" : "unsubscribed")'/>")
            case 6: server.store.commit(roll(4))
            default: if roll(2) == 0 { server.runFirstLoop() } else { server.run() }
            }
            for context in [server.context, second] where roll(3) == 0 { context.flush() }
            for index in listeners.indices { listeners[index].read() }
        }
        for context in [server.context, second] { context.flush() }
        for _ in 0..<4 { settle() }
        let known = listeners.map(\.contacts)
        #expect(known[0] == known[1])
        balcony.send(get)
        listeners[0].read()
        #expect(listeners[0].contacts == known[0])
    }
}
