/// What a received message may measure (`limits:` of the configuration).
public struct MessageLimits: Sendable, Hashable {
    /// Start line, header section and body, in bytes; past it 413.
    public var messageSize: Int
    /// From the end of the start line through the empty line, in bytes; past it 513.
    public var headerSection: Int
    /// Rows; past it 513.
    public var headerFields: Int
    /// Bytes; past it 414.
    public var requestURI: Int
    /// Via values; past it 513.
    public var vias: Int

    public init(
        messageSize: Int = 64 << 10, headerSection: Int = 32 << 10, headerFields: Int = 256, requestURI: Int = 4096,
        vias: Int = 70
    ) {
        self.messageSize = messageSize
        self.headerSection = headerSection
        self.headerFields = headerFields
        self.requestURI = requestURI
        self.vias = vias
    }
}
