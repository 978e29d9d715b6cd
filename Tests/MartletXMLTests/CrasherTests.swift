import MartletXML
import NIOCore
import Testing

@Suite struct CrasherTests {
    @Test("what the fuzzer once found stays found")
    func replay() throws {
        for (name, bytes) in try Project.files(in: "Fuzzing/XML/crashers") + Project.files(in: "Fuzzing/XML/corpus") where bytes.count > 1 {
            let piece = 1 + Int(bytes[0]) % 16
            let stream = Array(bytes.dropFirst())
            let whole = outcome(of: stream, limits: .unauthenticated) { element in
                guard let again = try? parseElement(element.rewritten(), limits: .none) else {
                    Issue.record("\(name): what was written is not accepted")
                    return
                }
                #expect(Trace.of(again.root) == Trace.of(element.root), "\(name)")
            }
            #expect(outcome(of: stream, pieces: [piece], limits: .unauthenticated) == whole, "\(name)")
        }
    }
}
