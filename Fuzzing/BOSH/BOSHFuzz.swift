import MartletXML
import MartletXMPP
import NIOCore

/// A body says the same to whoever looks only at its beginning, has numbers that clients can count to, and its elements are stanzas that can be
/// sent back in an answer and read there.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzBOSH(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = ByteBuffer(bytes: UnsafeBufferPointer(start: start, count: count))
    let scratch = XMLParserScratch()
    let session = BOSHRequest.session(of: bytes, limits: .unauthenticated, scratch: scratch)
    guard let request = try? BOSHRequest(bytes, limits: .unauthenticated, scratch: scratch) else { return 0 }
    precondition(session?.sid == request.sid && (session == nil || session?.rid == request.rid), "its beginning says something else")
    precondition(request.rid <= BOSHRequest.ridMax && (request.sid?.utf8.count ?? 0) <= BOSHRequest.sidBytesMax, "a name or number is too large")
    for seconds in [request.wait, request.hold, request.pause ?? 0] { precondition((0...BOSHRequest.secondsMax).contains(seconds), "a time is too long") }
    _ = try? StreamHeader(body: request.body)
    let answer = BOSHAnswer(request.elements.map { $0.rewritten() }).bytes
    guard !request.elements.isEmpty else { return 0 }
    precondition(elements(in: answer) == request.elements.count, "an answer has other elements than were put into it")
    return 0
}

/// How many elements there are in a body.
private func elements(in bytes: ByteBuffer) -> Int? { (try? parseElement(bytes, limits: .ownWriting)).map { Array($0.root.children).count } }
