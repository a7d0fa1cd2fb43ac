/** Icons are imported as text. */
declare module '*.svg' {
  const text: string;
  export default text;
}
